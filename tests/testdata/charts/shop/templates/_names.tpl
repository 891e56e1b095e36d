{{- define "shop.labels" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* Given, else what the Secret has, else drawn. */ -}}
{{- define "shop.password" -}}
{{- $there := lookup "v1" "Secret" .Release.Namespace .Release.Name -}}
{{- if .Values.password -}}
{{ .Values.password | b64enc }}
{{- else if $there -}}
{{ index $there.data "password" }}
{{- else -}}
{{ randAlphaNum 20 | b64enc }}
{{- end -}}
{{- end }}
