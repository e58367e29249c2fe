{{/* Name of the release's objects, short enough for what is appended. */}}
{{- define "load.name" -}}
{{- $name := .Values.nameOverride | default .Release.Name -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* What selects the pods of a role: (list . "worker"). */}}
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

{{/* How many workers the order wants. (helm lint renders without an order.) */}}
{{- define "load.workers" -}}
{{- $order := .Values.order | default "{}" | fromJson -}}
{{- dig "scenario" "workers" 1 $order | int -}}
{{- end -}}

{{/* The life of a job: ended after its deadline, removed after that, never tried twice. */}}
{{- define "load.life" -}}
backoffLimit: 0  # a second try would fire at a time of its own
activeDeadlineSeconds: {{ .Values.deadlineSeconds }}
ttlSecondsAfterFinished: {{ .Values.ttlSecondsAfterFinished }}
{{- end -}}

{{/* What both pods are: nobody's account, no root, on any node without a GPU. */}}
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
        # the taint keeps these pods off GPU nodes, and this where somebody has removed the taint:
        # a load beside the server that it measures would slow it down
        - matchExpressions:
            - key: {{ ((.Values.gpu).label).key }}
              operator: NotIn
              values: [{{ ((.Values.gpu).label).value | quote }}]
{{- end -}}

{{/* What both containers are: (list . "worker"). */}}
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

{{/* What a schema cannot say. Each stops the render with one sentence. */}}
{{- define "load.validate" -}}
{{- $v := .Values -}}
{{- range $key := list "gpu" "namespaces" "ports" -}}
{{- if not (index $v $key) -}}
{{- fail (printf "The values have no '%s', which stands in the contract: add '-f k8s/contract.yaml' before your own values." $key) -}}
{{- end -}}
{{- end -}}
{{- if ne .Release.Namespace $v.namespaces.load -}}
{{- fail (printf "Triton lets namespace '%s' fire at it, and this release goes to '%s': install with '--namespace %s'." $v.namespaces.load .Release.Namespace $v.namespaces.load) -}}
{{- end -}}
{{- if not $v.image.repository -}}
{{- fail "image.repository is empty: give the image that helpers/load/cluster_pool.py pushed, such as --set image.repository=<registry>/gpu-e2e/triton." -}}
{{- end -}}
{{- if not $v.image.digest -}}
{{- fail "image.digest is empty: run what was pushed, by its digest (--set image.digest=sha256:…), as a tag can be moved." -}}
{{- end -}}
{{- if not $v.order -}}
{{- fail "order is empty: give what is fired at whom, as JSON (helpers/load/cluster_pool.py writes it)." -}}
{{- end -}}
{{- $order := fromJson $v.order -}}
{{- with $order.Error -}}
{{- fail (printf "order is no JSON: %s." .) -}}
{{- end -}}
{{- $workers := dig "scenario" "workers" 0 $order | int -}}
{{- if or (lt $workers 1) (gt $workers 64) -}}
{{- fail (printf "order wants %d workers: give scenario.workers a number from 1 to 64." $workers) -}}
{{- end -}}
{{- end -}}

{{/* Environment of both. */}}
{{- define "load.env" -}}
- name: HOME
  value: /tmp
- name: GPU_E2E_ORDER
  value: {{ .Values.order | quote }}
{{- end -}}
