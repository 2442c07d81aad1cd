{{- /* rstudio-connect.gcfg: the chart's own settings, each one yielding to the user's. */ -}}
{{- define "connect.gcfg" -}}
{{- $config := dict }}
{{- if .Values.launcher.enabled }}
  {{- $section := dict "Enabled" "true" "Kubernetes" "true" }}
  {{- $_ := set $section "KubernetesNamespace" (include "connect.contentNamespace" .) }}
  {{- $_ = set $config "Launcher" (merge $section (include "connect.dataDir" . | fromYaml)) }}
{{- end }}
{{- if .Values.backends.kubernetes.enabled }}
  {{- $section := dict "Enabled" "true" "Namespace" (include "connect.contentNamespace" .) }}
  {{- $_ := set $section "DefaultResourceJobBase" (include "connect.jobBasePath" .) }}
  {{- if .Values.backends.kubernetes.defaultResourceServiceBase }}
    {{- $_ := set $section "DefaultResourceServiceBase" (include "connect.serviceBasePath" .) }}
  {{- end }}
  {{- if .Values.backends.kubernetes.defaultInitContainer.enabled }}
    {{- $_ := set $section "ConnectRuntimeDir" (include "connect.runtimeDir" .) }}
  {{- end }}
  {{- $section = merge $section (include "connect.dataDir" . | fromYaml) }}
  {{- if and $section.DataDirPVCName .Values.sharedStorage.subPath }}
    {{- $_ := set $section "DataDirPVCSubPath" .Values.sharedStorage.subPath }}
  {{- end }}
  {{- $_ := set $config "Kubernetes" $section }}
{{- end }}
{{- if .Values.license.server }}
  {{- $_ := set $config "Licensing" (dict "LicenseType" "Remote") }}
{{- end }}
{{- if .Values.prometheus.enabled }}
  {{- $_ := set $config "Metrics" (dict "PrometheusListen" (print ":" .Values.prometheus.port)) }}
{{- end }}
{{- $user := deepCopy .Values.config }}
{{- range list "DefaultResourceJobBase" "DefaultResourceServiceBase" "ConnectRuntimeDir" }}
  {{- if not (dig "Kubernetes" . "" $user) }}{{ $_ := unset (get $user "Kubernetes" | default dict) . }}{{ end }}
{{- end }}
{{- range $section, $settings := mergeOverwrite $config $user }}
[{{ $section }}]
  {{- range $key, $value := $settings }}
    {{- range kindIs "slice" $value | ternary $value (list $value) }}
{{ $key }} = {{ . }}
    {{- end }}
  {{- end }}
{{ end }}
{{- end }}

{{- define "connect.dataDir" -}}
{{- if and (include "connect.stored" .) .Values.sharedStorage.mountContent -}}
DataDirPVCName: {{ include "connect.claim" . }}
{{- end }}
{{- end }}
