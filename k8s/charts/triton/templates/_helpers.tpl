{{/* Name of the release's objects, short enough for suffixes. */}}
{{- define "triton.name" -}}
{{- $name := .Values.nameOverride | default .Release.Name -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Selector labels of the server's pods. A Deployment's selector is immutable: add nothing here. */}}
{{- define "triton.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end -}}

{{/* Labels of every object except the test's. */}}
{{- define "triton.labels" -}}
{{ include "triton.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "triton.testLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: test
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* Name of the ServiceAccount: the role trusts only the contract's name. */}}
{{- define "triton.serviceAccount" -}}
{{ .Values.serviceAccounts.triton | default (include "triton.name" .) }}
{{- end -}}

{{/* Classes are cluster-wide, so the namespace is part of the name. */}}
{{- define "triton.priorityClass" -}}
{{- .Values.priorityClass.name | default (printf "%s-%s" .Release.Namespace (include "triton.name" .)) -}}
{{- end -}}

{{/* Where Triton finds its models. */}}
{{- define "triton.repository" -}}
{{- with .Values.modelRepository -}}
{{- if eq .source "s3" -}}
s3://{{ .s3.bucket }}/{{ .s3.prefix | default $.Values.models.prefix }}
{{- else -}}
{{ .path }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Environment of the server: what the chart needs, then `triton.env`. */}}
{{- define "triton.env" -}}
{{- $env := dict "HOME" "/tmp" "CUDA_CACHE_PATH" "/tmp/cuda-cache" -}}
{{- if eq .Values.device "cpu" -}}
{{- /* by default the image requests every GPU from NVIDIA's runtime */ -}}
{{- $_ := set $env "NVIDIA_VISIBLE_DEVICES" "void" -}}
{{- end -}}
{{- if eq .Values.modelRepository.source "s3" -}}
{{- $region := .Values.modelRepository.s3.region -}}
{{- $_ := set $env "AWS_REGION" $region -}}
{{- $_ := set $env "AWS_DEFAULT_REGION" $region -}}
{{- /* the pod's own role or none, never the node's */ -}}
{{- $_ := set $env "AWS_EC2_METADATA_DISABLED" "true" -}}
{{- end -}}
{{- range $name, $value := mergeOverwrite $env .Values.triton.env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end -}}
{{- end -}}

{{/* A probe's timing. */}}
{{- define "triton.timing" -}}
periodSeconds: {{ .periodSeconds }}
timeoutSeconds: {{ .timeoutSeconds }}
failureThreshold: {{ .failureThreshold }}
{{- end -}}

{{/* Container settings of both pods. */}}
{{- define "triton.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Annotations of both Ingresses of the group: if they differ, neither works. */}}
{{- define "triton.loadBalancer" -}}
{{- with .Values.ingress }}
alb.ingress.kubernetes.io/group.name: {{ .group | default (include "triton.name" $) }}
{{- with .loadBalancerName }}
alb.ingress.kubernetes.io/load-balancer-name: {{ . }}
{{- end }}
alb.ingress.kubernetes.io/scheme: {{ .scheme }}
alb.ingress.kubernetes.io/target-type: ip
alb.ingress.kubernetes.io/inbound-cidrs: {{ join "," .inboundCidrs | quote }}
alb.ingress.kubernetes.io/load-balancer-attributes: {{ printf "idle_timeout.timeout_seconds=%d,routing.http.drop_invalid_header_fields.enabled=true" (int .idleTimeoutSeconds) }}
alb.ingress.kubernetes.io/target-group-attributes: {{ printf "deregistration_delay.timeout_seconds=%d,load_balancing.algorithm.type=least_outstanding_requests" (int .deregistrationDelaySeconds) }}
alb.ingress.kubernetes.io/healthcheck-interval-seconds: {{ .healthCheck.intervalSeconds | quote }}
alb.ingress.kubernetes.io/healthcheck-timeout-seconds: {{ .healthCheck.timeoutSeconds | quote }}
alb.ingress.kubernetes.io/healthy-threshold-count: {{ .healthCheck.healthyThreshold | quote }}
alb.ingress.kubernetes.io/unhealthy-threshold-count: {{ .healthCheck.unhealthyThreshold | quote }}
{{- with .tags }}
{{- $tags := list }}
{{- range $key, $value := . }}
{{- $tags = append $tags (printf "%s=%s" $key $value) }}
{{- end }}
alb.ingress.kubernetes.io/tags: {{ join "," $tags | quote }}
{{- end }}
{{- if .certificateArn }}
alb.ingress.kubernetes.io/certificate-arn: {{ .certificateArn }}
alb.ingress.kubernetes.io/ssl-policy: {{ .sslPolicy }}
alb.ingress.kubernetes.io/ssl-redirect: "443"
{{- end }}
{{- end }}
{{- end -}}
