{{- define "enlarger.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "enlarger.metadata" -}}
name: {{ .Release.Name }}
labels:
  {{- include "enlarger.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .Release.Service }}
  helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "enlarger.hasSeveral" -}}
{{- if or (gt (int .Values.replicas) 1) (ne .Values.autoscaling.kind "none") }}yes{{ end -}}
{{- end }}
