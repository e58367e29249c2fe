{{/* Name of the release's objects, short enough for suffixes. */}}
{{- define "load.name" -}}
{{- $name := .Values.nameOverride | default .Release.Name -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Selector labels of the pods of a role: (list . "worker"). */}}
{{- define "load.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of an object of a role. */}}
{{- define "load.labels" -}}
{{- $root := index . 0 -}}
{{ include "load.selector" . }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end -}}

{{/* Number of workers in the order. (helm lint renders without an order.) */}}
{{- define "load.workers" -}}
{{- $order := .Values.order | default "{}" | fromJson -}}
{{- dig "scenario" "workers" 1 $order | int -}}
{{- end -}}

{{/* Life cycle of a job: stopped at its deadline, then removed; never retried. */}}
{{- define "load.life" -}}
backoffLimit: 0  # a retried worker would send at the wrong time
activeDeadlineSeconds: {{ .Values.deadlineSeconds }}
ttlSecondsAfterFinished: {{ .Values.ttlSecondsAfterFinished }}
{{- end -}}

{{/* Settings of both pods: no service account, not root, only on nodes without a GPU. */}}
{{- define "load.pod" -}}
restartPolicy: Never
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  seccompProfile:
    type: RuntimeDefault
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        # excludes GPU nodes even if their taint has been removed:
        # a load generator on the server's node would slow the server down
        - matchExpressions:
            - key: {{ ((.Values.gpu).label).key }}
              operator: NotIn
              values: [{{ ((.Values.gpu).label).value | quote }}]
{{- end -}}

{{/* Settings of both containers: (list . "worker"). */}}
{{- define "load.container" -}}
{{- $root := index . 0 -}}
image: "{{ $root.Values.image.repository }}@{{ $root.Values.image.digest }}"
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
resources:
  {{- range $kind := list "requests" "limits" }}
  {{ $kind }}:
    {{- range $name, $quantity := index $root.Values.resources (index $ 1) }}
    {{ $name }}: {{ $quantity | quote }}
    {{- end }}
  {{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* Rules that a schema cannot express. Each stops rendering with one sentence. */}}
{{- define "load.validate" -}}
{{- $v := .Values -}}
{{- range $key := list "gpu" "namespaces" "ports" -}}
{{- if not (index $v $key) -}}
{{- fail (printf "The values have no '%s', which is in the contract: add '-f k8s/contract.yaml' before your own values." $key) -}}
{{- end -}}
{{- end -}}
{{- if ne .Release.Namespace $v.namespaces.load -}}
{{- fail (printf "Triton accepts load from namespace '%s' only, and this release is for '%s': install with '--namespace %s'." $v.namespaces.load .Release.Namespace $v.namespaces.load) -}}
{{- end -}}
{{- if not $v.image.repository -}}
{{- fail "image.repository is empty: give the image that helpers/load/cluster_pool.py pushed, such as --set image.repository=<registry>/gpu-e2e/triton." -}}
{{- end -}}
{{- if not $v.image.digest -}}
{{- fail "image.digest is empty: name the pushed image by its digest (--set image.digest=sha256:…), because a tag can be moved." -}}
{{- end -}}
{{- if not $v.order -}}
{{- fail "order is empty: give the scenario and its target as JSON (helpers/load/cluster_pool.py writes it)." -}}
{{- end -}}
{{- $order := fromJson $v.order -}}
{{- with $order.Error -}}
{{- fail (printf "order is not valid JSON: %s." .) -}}
{{- end -}}
{{- $workers := dig "scenario" "workers" 0 $order | int -}}
{{- if or (lt $workers 1) (gt $workers 64) -}}
{{- fail (printf "order wants %d workers: give scenario.workers a number from 1 to 64." $workers) -}}
{{- end -}}
{{- end -}}

{{/* Environment of both containers. */}}
{{- define "load.env" -}}
- name: HOME
  value: /tmp
- name: GPU_E2E_ORDER
  value: {{ .Values.order | quote }}
{{- end -}}
