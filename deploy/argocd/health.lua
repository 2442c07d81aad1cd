-- Health of a ConnectAutoscalingProfile, after the rules that kubectl wait and kstatus go by: Healthy is Ready.
local health = {}
if obj.spec ~= nil and obj.spec.suspend then
  health.status = "Suspended"
  health.message = "spec.suspend is true"
  return health
end
local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  health.status = "Progressing"
  health.message = "Waiting for the operator to see this generation"
  return health
end
local found = {}
for _, condition in ipairs(status.conditions or {}) do
  found[condition.type] = condition
end
local function holds(kind)
  return found[kind] ~= nil and found[kind].status == "True"
end
local ready = found.Ready or {}
health.message = ready.message
if holds("Stalled") then
  health.status = "Degraded"
  health.message = found.Stalled.message
elseif holds("Ready") then
  health.status = "Healthy"
  if holds("Drifted") then
    health.message = found.Drifted.message
  end
elseif holds("Reconciling") then
  health.status = "Progressing"
  health.message = found.Reconciling.message
elseif ready.status == "False" then
  health.status = "Degraded"
else
  health.status = "Progressing"
end
return health
