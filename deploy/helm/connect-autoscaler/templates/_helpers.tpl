{{/*
The shipped files are the source: what they say of namespace connect-autoscaler holds for the release's.
Arguments: context, glob.
*/}}
{{- define "connect-autoscaler.files" -}}
{{- $context := .context -}}
{{- range $path, $_ := $context.Files.Glob .glob }}
---
# {{ $path }}
{{ $context.Files.Get $path | replace "namespace: connect-autoscaler\n" (printf "namespace: %s\n" $context.Release.Namespace) }}
{{- end }}
{{- end }}

{{/*
Files that leave their namespace open, for one namespace. Arguments: context, glob, namespace.
*/}}
{{- define "connect-autoscaler.inNamespace" -}}
{{- $context := .context -}}
{{- $namespace := .namespace -}}
{{- range $path, $_ := $context.Files.Glob .glob }}
{{- range splitList "\n---\n" ($context.Files.Get $path) }}
{{- $object := fromYaml . }}
{{- $_ := set $object.metadata "namespace" $namespace }}
{{- range $object.subjects }}
{{- $_ := set . "namespace" (empty .namespace | ternary $namespace $context.Release.Namespace) }}
{{- end }}
---
{{ toYaml $object }}
{{- end }}
{{- end }}
{{- end }}

{{- define "connect-autoscaler.image" -}}
{{- .Values.image.repository -}}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end -}}
{{- end }}
