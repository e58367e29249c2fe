{{/* Scheduling: the contract's label and taint, then the user's additions. */}}
{{- define "triton.placement" -}}
{{- $gpu := eq .Values.device "gpu" -}}
{{- $nodes := dict -}}
{{- if $gpu -}}
{{- with .Values.gpu.label }}{{ $_ := set $nodes .key .value }}{{ end -}}
{{- end -}}
{{- with mergeOverwrite $nodes .Values.nodeSelector }}
nodeSelector:
  {{- range $key, $value := . }}
  {{ $key | quote }}: {{ $value | quote }}
  {{- end }}
{{- end }}
{{- if or $gpu .Values.tolerations }}
tolerations:
  {{- if $gpu }}
  - key: {{ (.Values.gpu.taint).key }}
    operator: Equal
    value: {{ (.Values.gpu.taint).value | quote }}
    effect: {{ (.Values.gpu.taint).effect }}
  {{- end }}
  {{- with .Values.tolerations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- if .Values.zoneSpread }}
topologySpreadConstraints:
  - topologyKey: topology.kubernetes.io/zone
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    nodeTaintsPolicy: Honor  # zones with only CPU nodes do not count
    labelSelector:
      matchLabels:
        {{- include "triton.selector" . | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end -}}

{{/* Triton's command line. */}}
{{- define "triton.args" -}}
- --model-repository={{ include "triton.repository" . }}
- --model-control-mode=explicit
{{- range .Values.modelRepository.load }}
- --load-model={{ . }}
{{- end }}
- --strict-readiness=true
- --exit-timeout-secs={{ .Values.triton.exitTimeoutSeconds }}
- --http-port={{ .Values.ports.http }}
- --grpc-port={{ .Values.ports.grpc }}
- --metrics-port={{ .Values.ports.metrics }}
- --allow-metrics=true
- --allow-gpu-metrics={{ eq .Values.device "gpu" }}
- --metrics-interval-ms={{ .Values.triton.metricsIntervalMs }}
- --metrics-config=summary_latencies=true
- --metrics-config=histogram_latencies=true
- --log-verbose={{ .Values.triton.logVerbose }}
{{- range .Values.triton.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{/* Requests and limits; the GPU is in both, as Kubernetes requires for extended resources. */}}
{{- define "triton.resources" -}}
{{- range $kind := list "requests" "limits" }}
{{ $kind }}:
  {{- range $name, $quantity := index $.Values.resources $kind }}
  {{ $name }}: {{ $quantity | quote }}
  {{- end }}
  {{- if and (eq $.Values.device "gpu") $.Values.gpu.resource }}
  {{ $.Values.gpu.resource | quote }}: {{ $.Values.gpu.perPod | quote }}
  {{- end }}
{{- end }}
{{- end -}}
