{{- define "name" -}}
{{- .Values.fullnameOverride | default (ternary .Release.Name (printf "%s-dex" .Release.Name) (contains "dex" .Release.Name)) | trunc 63 -}}
{{- end }}
{{- define "selector" -}}
app.kubernetes.io/name: dex
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{ include "selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
{{- define "config" -}}
{{- if .Values.configSecret.create }}{{ .Values.configSecret.name | default (include "name" .) }}{{ else }}{{ .Values.configSecret.name | default "default" }}{{ end }}
{{- end }}
{{- define "account" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}
