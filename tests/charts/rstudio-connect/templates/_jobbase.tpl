{{- /* job.yaml: the user's base, completed with what content needs to start. */ -}}
{{- define "connect.jobBase" -}}
{{- $init := .Values.backends.kubernetes.defaultInitContainer }}
{{- $base := .Values.backends.kubernetes.defaultResourceJobBase | default dict | deepCopy }}
{{- $base = merge $base (dict "apiVersion" "batch/v1" "kind" "Job") }}
{{- if ne $base.kind "Job" }}
  {{- fail (printf "`backends.kubernetes.defaultResourceJobBase.kind` is %q: content needs a Job" $base.kind) }}
{{- end }}
{{- if $init.enabled }}
  {{- $spec := $base }}
  {{- range list "spec" "template" "spec" }}
    {{- if not (get $spec .) }}{{ $_ := set $spec . dict }}{{ end }}
    {{- $spec = get $spec . }}
  {{- end }}
  {{- $image := print $init.repository ":" ($init.tag | default (include "connect.version" .)) }}
  {{- $first := dict "name" "connect-content-init" "image" $image }}
  {{- range $key := list "imagePullPolicy" "resources" "securityContext" }}
    {{- with get $init $key }}{{ $_ := set $first $key . }}{{ end }}
  {{- end }}
  {{- $second := dict "name" "connect-content" }}
  {{- $runtime := include "connect.runtimeDir" . }}
  {{- include "connect.complete" (dict
    "in" $spec "list" "initContainers" "container" $first "at" "/mnt/rstudio-connect-runtime/"
  ) }}
  {{- include "connect.complete" (dict
    "in" $spec "list" "containers" "container" $second "at" $runtime "never" "/opt/rstudio-connect"
  ) }}
  {{- $volumes := $spec.volumes | default list }}
  {{- $there := false }}
  {{- range $volumes }}{{ if eq .name "rsc-volume" }}{{ $there = true }}{{ end }}{{ end }}
  {{- if not $there }}
    {{- $_ := set $spec "volumes" (append $volumes (dict "name" "rsc-volume" "emptyDir" dict)) }}
  {{- end }}
{{- end }}
{{- toYaml $base }}
{{- end }}

{{- /*
Sees to it that `list` of the pod spec `in` has `container`, with the runtime volume mounted at `at` and nothing mounted
at `never`. A container that the user lists under the same name keeps what it says and gets the rest.
*/ -}}
{{- define "connect.complete" -}}
{{- $containers := get .in .list | default list }}
{{- $found := dict }}
{{- range $containers }}
  {{- if eq .name $.container.name }}{{ $found = . }}{{ end }}
{{- end }}
{{- if not $found }}
  {{- $found = .container }}
  {{- $_ := set .in .list (append $containers $found) }}
{{- end }}
{{- range $key, $value := .container }}
  {{- if not (hasKey $found $key) }}{{ $_ := set $found $key $value }}{{ end }}
{{- end }}
{{- $mounts := $found.volumeMounts | default list }}
{{- $mounted := false }}
{{- range $mounts }}
  {{- $ours := and (eq .mountPath $.at) (eq .name "rsc-volume") }}
  {{- if $ours }}
    {{- $mounted = true }}
  {{- else if or (eq .mountPath $.at) (eq .mountPath ($.never | default $.at)) }}
    {{- $what := printf "%s mounts %s at %s, which is reserved" $found.name .name .mountPath }}
    {{- fail (print "`backends.kubernetes.defaultResourceJobBase`: " $what) }}
  {{- end }}
{{- end }}
{{- if not $mounted }}
  {{- $_ := set $found "volumeMounts" (append $mounts (dict "name" "rsc-volume" "mountPath" .at)) }}
{{- end }}
{{- end }}

{{- /* service.yaml: the user's base. */ -}}
{{- define "connect.serviceBase" -}}
{{- $base := deepCopy .Values.backends.kubernetes.defaultResourceServiceBase }}
{{- $base = merge $base (dict "apiVersion" "v1" "kind" "Service") }}
{{- if ne $base.kind "Service" }}
  {{- fail (printf "`backends.kubernetes.defaultResourceServiceBase.kind` is %q: content needs a Service" $base.kind) }}
{{- end }}
{{- toYaml $base }}
{{- end }}
