{{/*
Rules between fields, which a schema cannot express. Each stops rendering with one sentence. (helm lint
does not stop, so the templates must accept empty values.)
*/}}
{{- define "triton.validate" -}}
{{- include "triton.validate.contract" . -}}
{{- include "triton.validate.image" . -}}
{{- include "triton.validate.models" . -}}
{{- include "triton.validate.life" . -}}
{{- include "triton.validate.scale" . -}}
{{- if .Values.ingress.enabled }}{{ include "triton.validate.ingress" . }}{{ end -}}
{{- if .Values.serviceMonitor.enabled }}{{ include "triton.validate.monitor" .Values.serviceMonitor }}{{ end -}}
{{- end -}}

{{- define "triton.validate.contract" -}}
{{- $v := .Values -}}
{{- range $key := list "gpu" "namespaces" "serviceAccounts" "ports" "models" -}}
{{- if not (index $v $key) -}}
{{- fail (printf "The values have no '%s', which is in the contract: add '-f k8s/contract.yaml' before your own values." $key) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $v.device "gpu") $v.gpu.perNode (gt (int $v.gpu.perPod) (int $v.gpu.perNode)) -}}
{{- fail (printf "A pod requests %d GPUs (gpu.perPod) and a node has %d (gpu.perNode): it would fit no node." (int $v.gpu.perPod) (int $v.gpu.perNode)) -}}
{{- end -}}
{{- if and $v.serviceAccount.roleArn (ne .Release.Namespace $v.namespaces.triton) -}}
{{- fail (printf "The role of serviceAccount.roleArn trusts namespace '%s', and this release is for '%s': install with '--namespace %s'." $v.namespaces.triton .Release.Namespace $v.namespaces.triton) -}}
{{- end -}}
{{- end -}}

{{- define "triton.validate.image" -}}
{{- if not .Values.image.repository -}}
{{- fail "image.repository is empty: give the image that stage 03 pushed, such as --set image.repository=<registry>/gpu-e2e." -}}
{{- end -}}
{{- if not .Values.image.digest -}}
{{- fail "image.digest is empty: name the pushed image by its digest (--set image.digest=sha256:…), because a tag can be moved." -}}
{{- end -}}
{{- end -}}

{{- define "triton.validate.models" -}}
{{- with .Values.modelRepository -}}
{{- if not .load -}}
{{- fail "modelRepository.load is empty: model control is explicit, so Triton would serve nothing. Name at least one model." -}}
{{- end -}}
{{- if eq .source "s3" -}}
{{- if not .s3.bucket -}}
{{- fail "modelRepository.source is s3 and modelRepository.s3.bucket is empty: name the artifact bucket (Terraform output artifact_bucket)." -}}
{{- end -}}
{{- if not .s3.region -}}
{{- fail "modelRepository.source is s3 and modelRepository.s3.region is empty: name the bucket's region." -}}
{{- end -}}
{{- if not $.Values.serviceAccount.roleArn -}}
{{- fail "modelRepository.source is s3 and serviceAccount.roleArn is empty: the pod could not read the bucket (Terraform output role_arns.triton)." -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $own := list "model-repository" "model-store" "model-control-mode" "load-model" "http-port" "grpc-port" "metrics-port" "exit-timeout-secs" "strict-readiness" "allow-metrics" "allow-gpu-metrics" "metrics-interval-ms" "metrics-config" "log-verbose" -}}
{{- range .Values.triton.extraArgs -}}
{{- $flag := regexReplaceAll "=.*$" (trimPrefix "--" .) "" -}}
{{- if has $flag $own -}}
{{- fail (printf "triton.extraArgs sets --%s, which the chart sets itself: use the value for it." $flag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "triton.validate.life" -}}
{{- $stop := int .Values.shutdown.preStopSeconds -}}
{{- $exit := int .Values.triton.exitTimeoutSeconds -}}
{{- $grace := int .Values.shutdown.gracePeriodSeconds -}}
{{- if ge (add $stop $exit) $grace -}}
{{- fail (printf "shutdown.preStopSeconds %d + triton.exitTimeoutSeconds %d must be less than shutdown.gracePeriodSeconds %d, or the kubelet kills requests in flight." $stop $exit $grace) -}}
{{- end -}}
{{- range $size, $limit := dict "sharedMemory" "memory" "temporary" "ephemeral-storage" -}}
{{- $most := index $.Values.resources.limits $limit | default "" -}}
{{- $wanted := index $.Values $size -}}
{{- if and (regexMatch "^[0-9]+(Ki|Mi|Gi)$" $most) (gt (include "triton.kibibytes" $wanted | int64) (include "triton.kibibytes" $most | int64)) -}}
{{- fail (printf "%s %s is more than resources.limits.%s %s, of which it is a part." $size $wanted $limit $most) -}}
{{- end -}}
{{- end -}}
{{- with .Values.strategy -}}
{{- if and (eq (int .maxSurge) 0) (eq (int .maxUnavailable) 0) -}}
{{- fail "strategy.maxSurge and strategy.maxUnavailable are both 0: no rollout could take a step. On one GPU: 0 and 1." -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "triton.validate.scale" -}}
{{- with .Values.autoscaling -}}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) -}}
{{- fail (printf "autoscaling.minReplicas %d is more than autoscaling.maxReplicas %d." (int .minReplicas) (int .maxReplicas)) -}}
{{- end -}}
{{- if and .enabled (eq (int $.Values.replicas) 0) -}}
{{- fail "replicas is 0 and autoscaling is on, which would bring the pods back: set autoscaling.enabled=false as well." -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "triton.validate.ingress" -}}
{{- with .Values.ingress -}}
{{- if not .inboundCidrs -}}
{{- fail "ingress.inboundCidrs is empty, which would open the load balancer to the world: give the caller's address (Terraform output api_cidr)." -}}
{{- end -}}
{{- range .inboundCidrs -}}
{{- if hasSuffix "/0" . -}}
{{- fail (printf "ingress.inboundCidrs holds %s, the whole world: give the caller's own address, such as 203.0.113.7/32." .) -}}
{{- end -}}
{{- end -}}
{{- range $tag := list "project" "owner" "run" -}}
{{- if not (hasKey $.Values.ingress.tags $tag) -}}
{{- fail (printf "ingress.tags lacks '%s': the teardown finds the load balancer, which is not Terraform's, by project, owner and run." $tag) -}}
{{- end -}}
{{- end -}}
{{- if ge (int .healthCheck.timeoutSeconds) (int .healthCheck.intervalSeconds) -}}
{{- fail (printf "ingress.healthCheck.timeoutSeconds %d must be less than ingress.healthCheck.intervalSeconds %d." (int .healthCheck.timeoutSeconds) (int .healthCheck.intervalSeconds)) -}}
{{- end -}}
{{- $serving := add (int $.Values.shutdown.preStopSeconds) (int $.Values.triton.exitTimeoutSeconds) -}}
{{- if gt (int .deregistrationDelaySeconds) (int $serving) -}}
{{- fail (printf "ingress.deregistrationDelaySeconds %d is more than the %d s that the pod still serves (shutdown.preStopSeconds + triton.exitTimeoutSeconds): late requests would be cut off." (int .deregistrationDelaySeconds) (int $serving)) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.loadBalancerCidrs) -}}
{{- fail "networkPolicy.loadBalancerCidrs is empty and ingress is on: the load balancer could not reach the pods. Give the VPC's CIDR." -}}
{{- end -}}
{{- end -}}

{{- define "triton.validate.monitor" -}}
{{- if gt (.scrapeTimeout | trimSuffix "s" | int) (.interval | trimSuffix "s" | int) -}}
{{- fail (printf "serviceMonitor.scrapeTimeout %s is longer than serviceMonitor.interval %s: Prometheus refuses the target." .scrapeTimeout .interval) -}}
{{- end -}}
{{- end -}}

{{/* A quantity of Ki, Mi or Gi in Ki, so that two can be compared. */}}
{{- define "triton.kibibytes" -}}
{{- $unit := regexFind "(Ki|Mi|Gi)$" . -}}
{{- $factor := get (dict "Ki" 1 "Mi" 1024 "Gi" 1048576) $unit -}}
{{- mul (trimSuffix $unit . | int64) $factor -}}
{{- end -}}
