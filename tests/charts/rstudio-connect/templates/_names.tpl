{{- define "connect.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "connect.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $generated := contains $name .Release.Name | ternary .Release.Name (print .Release.Name "-" $name) -}}
{{ .Values.fullnameOverride | default $generated | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "connect.selector" -}}
app.kubernetes.io/name: {{ include "connect.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "connect.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "connect.selector" . }}
{{- end }}

{{- define "connect.version" -}}
{{ .Values.versionOverride | default .Chart.AppVersion }}
{{- end }}

{{- define "connect.serviceAccount" -}}
{{ .Values.rbac.serviceAccount.name | default (include "connect.fullname" .) }}
{{- end }}

{{- define "connect.claim" -}}
{{ .Values.sharedStorage.name | default (print (include "connect.fullname" .) "-shared-storage") }}
{{- end }}

{{- /* "true" where content runs in pods of its own, else empty. */ -}}
{{- define "connect.offHost" -}}
{{ if or .Values.launcher.enabled .Values.backends.kubernetes.enabled }}true{{ end }}
{{- end }}

{{- define "connect.contentNamespace" -}}
{{- $runner := .Values.launcher.enabled | ternary .Values.launcher .Values.backends.kubernetes -}}
{{ $runner.namespace | default .Release.Namespace }}
{{- end }}

{{- /* "true" where the server mounts the shared storage, else empty. */ -}}
{{- define "connect.stored" -}}
{{ if or .Values.sharedStorage.create .Values.sharedStorage.mount }}true{{ end }}
{{- end }}

{{- /* A path in [Kubernetes]: the user's, unless it is empty. Argument: list of the root, the key, the default. */ -}}
{{- define "connect.path" -}}
{{ dig "Kubernetes" (index . 1) "" (index . 0).Values.config | default (index . 2) }}
{{- end }}
{{- define "connect.jobBasePath" -}}
{{ include "connect.path" (list . "DefaultResourceJobBase" "/etc/rstudio-connect/job.yaml") }}
{{- end }}
{{- define "connect.serviceBasePath" -}}
{{ include "connect.path" (list . "DefaultResourceServiceBase" "/etc/rstudio-connect/service.yaml") }}
{{- end }}
{{- define "connect.runtimeDir" -}}
{{ include "connect.path" (list . "ConnectRuntimeDir" "/opt/rstudio-connect-runtime") }}
{{- end }}

{{- /* The entries of a map that have something to say, as YAML. Argument: list of the indentation and the map. */ -}}
{{- define "connect.present" -}}
{{- $present := dict }}
{{- range $key, $value := index . 1 }}
  {{- with $value }}{{ $_ := set $present $key . }}{{ end }}
{{- end }}
{{- with $present }}{{ toYaml . | nindent (index $ 0) }}{{ end }}
{{- end }}

{{- /* The container's environment: the licence, then the user's. */ -}}
{{- define "connect.env" -}}
{{- if .Values.license.key }}
- name: RSC_LICENSE
  valueFrom: {secretKeyRef: {name: {{ include "connect.fullname" . }}-license, key: rstudio-connect}}
{{- end }}
{{- with .Values.license.server }}
- {name: RSC_LICENSE_SERVER, value: {{ . | quote }}}
{{- end }}
{{- with .Values.pod.env }}
{{ toYaml . }}
{{- end }}
{{- end }}
