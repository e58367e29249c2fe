"""What the API server, its webhooks and the load balancer controller say."""

from helpers.cluster.explanations.rule import LOG_IN, rule

API = (
    rule(
        "webhook-down",
        r"failed calling webhook \"(?P<webhook>[^\"]+)\".*(?:no endpoints available|"
        r"connection refused|context deadline exceeded|i/o timeout|no route to host|"
        r"service \"[^\"]+\" not found|x509|EOF)",
        "The admission webhook {webhook} does not answer, and blocks what it watches.",
        "Wait for its controller's pods, or reinstall its release; the nodes' security group must "
        "let the control plane reach the webhook's port.",
        passing=True,
    ),
    rule(
        "webhook-denied",
        r"admission webhook \"(?P<webhook>[^\"]+)\" denied the request:?\s*(?P<detail>.*)",
        "The admission webhook {webhook} refuses the object: {detail}",
        "Correct the object.",
    ),
    rule(
        "quota",
        r"exceeded quota: (?P<quota>[\w.-]+), requested: (?P<requested>[^,]+), "
        r"used: (?P<used>[^,]+), limited: (?P<limited>\S+)",
        "The namespace's quota {quota} is used up: {requested} asked, {used} used, {limited} "
        "allowed.",
        "Raise the ResourceQuota, or delete what is not needed.",
    ),
    rule(
        "pod-security",
        r"violates PodSecurity \"(?P<level>[^\"]+)\": (?P<detail>.+)",
        "The namespace's pod security level {level} refuses the pod: {detail}",
        "Correct the security settings in the values.",
    ),
    rule(
        "no-priority-class",
        r"no PriorityClass with name (?P<name>\S+) was found",
        "There is no PriorityClass {name}.",
        "Install the chart that brings it, or correct priorityClassName.",
    ),
    rule(
        "terminating",
        r"because it is being terminated|object is being deleted",
        "The namespace {namespace}, or the object, is just being deleted.",
        "Wait until it is gone, and repeat the step.",
        passing=True,
    ),
    rule(
        "no-namespace",
        r"namespaces? \"(?P<name>[^\"]+)\" not found",
        "There is no namespace {name}.",
        "Run notebook 02; it creates the namespaces.",
    ),
    rule(
        "immutable",
        r"(?P<field>spec\.[\w.\[\]]+): Invalid value:.*field is immutable|field is immutable",
        "The change touches a field that cannot be changed on a living object ({field}).",
        "Uninstall the release and install it again.",
    ),
    rule(
        "expired-token",
        r"ExpiredToken|must be logged in to the server|asked for the client to provide "
        r"credentials|\bUnauthorized\b|HTTP 401",
        "The cluster does not accept the credentials: they have expired, or belong to another "
        "account.",
        LOG_IN,
    ),
    rule(
        "no-token",
        r"getting credentials: exec: |executable \S+ (?:failed|not found)|"
        r"Unable to locate credentials|AWS credentials",
        "No token for the cluster could be made: there are no usable AWS credentials.",
        LOG_IN,
    ),
    rule(
        "forbidden",
        r"User \"(?P<user>[^\"]*)\" cannot (?P<verb>\w+) resource \"(?P<resource>[^\"]+)\"",
        "The cluster does not let this identity {verb} {resource}.",
        "Use the identity that applied stage 01, or give this one an EKS access entry.",
    ),
    rule(
        "wrong-certificate",
        r"certificate signed by unknown authority|certificate is valid for|"
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|tls: failed to verify",
        "What answers at the cluster's address has another certificate: the kubeconfig belongs to "
        "another cluster.",
        "Run notebook 01 again; it writes the kubeconfig anew.",
    ),
    rule(
        "no-context",
        r"context \"?(?P<context>[^\" ]+)\"? does not exist|Expected object with name",
        "The kubeconfig has no context {context}.",
        "Name one of 'kubectl config get-contexts' in cluster.context of the profile.",
    ),
    rule(
        "no-cluster",
        r"cluster unreachable|connection refused|no such host|i/o timeout|"
        r"Name or service not known|Temporary failure in name resolution|Max retries exceeded|"
        r"ConnectTimeout|NewConnectionError|no route to host|network is unreachable|"
        r"Connection reset|Remote end closed",
        "The cluster's API cannot be reached.",
        "It is open to one address only: if yours has changed, apply stage 01 again. If the "
        "cluster is gone, begin with stage 01.",
        passing=True,
    ),
    rule(
        "busy",
        r"HTTP (?:429|5\d\d)|etcdserver: |TooManyRequests|the server is currently unable to handle",
        "The cluster's API is too busy, or just restarting.",
        "Wait a minute, and repeat the step.",
        passing=True,
    ),
    rule(
        "rollout-stuck",
        r"ProgressDeadlineExceeded|exceeded its progress deadline",
        "The rollout makes no progress any more.",
        "Read the events of its pods; on one GPU a surge pod waits for the GPU of the old one.",
    ),
)

BALANCER = (
    rule(
        "no-subnets",
        r"couldn't auto-discover subnets|unable to resolve at least one subnet",
        "The load balancer controller finds no public subnets for the cluster.",
        "Apply stage 01 again: subnets need the tag kubernetes.io/role/elb=1.",
    ),
    rule(
        "balancer-denied",
        r"(?:elasticloadbalancing|ec2|acm|wafv2|shield):\w+.*(?:AccessDenied|not authorized)|"
        r"(?:AccessDenied|not authorized).*elasticloadbalancing",
        "The load balancer controller's role may not do what it has to.",
        "Apply stage 01 again, and check the role's annotation at the service account.",
    ),
    rule(
        "balancer-certificate",
        r"CertificateNotFound|no certificate found for host|UnsupportedCertificate",
        "The certificate of the Ingress is not in ACM.",
        "Apply stage 01 again; it imports the run's certificate.",
    ),
)

TIME = (
    rule(
        "timed-out",
        r"timed out waiting for the condition|context deadline exceeded|DeadlineExceeded",
        "It did not come about in time.",
        "Read the events of the pods that are not ready, and repeat the step.",
    ),
)
