{{- define "tinyt2.name" -}}
{{- if contains "tinyt2" .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}{{ printf "%s-tinyt2" .Release.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "tinyt2.selector" -}}
app.kubernetes.io/name: tinyt2
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tinyt2.labels" -}}
{{ include "tinyt2.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "tinyt2.metadata" -}}
name: {{ include "tinyt2.name" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "tinyt2.labels" . | nindent 2 }}
{{- end }}
