{{- /* Release and alias: estafette-ci-api. Inside a sub-chart the chart's name is the alias. */ -}}
{{- define "estafette.name" -}}
{{ .Release.Name }}-{{ .Chart.Name }}
{{- end }}

{{- define "estafette.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "estafette.labels" -}}
{{ include "estafette.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* Certificates of the database's user root, as cockroach's own programs look for them. */ -}}
{{- define "estafette.client-certs" -}}
- name: client-certs
  projected:
    defaultMode: 0400
    sources:
      - secret:
          name: {{ .Release.Name }}-db-client-secret
          items:
            - { key: ca.crt, path: ca.crt }
            - { key: tls.crt, path: client.root.crt }
            - { key: tls.key, path: client.root.key }
{{- end }}
