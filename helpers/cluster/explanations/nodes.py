"""What Auto Scaling says when it has no node, and the scheduler when no node fits."""

from helpers.cluster.explanations.rule import rule

RETRY_SPOT = (
    "Wait and repeat the step, or add types to gpu.instanceTypes in k8s/contract.yaml, more zones "
    "to infrastructure.zones, or choose another region."
)

CAPACITY = (
    rule(
        "spot-price",
        r"(?:SpotMaxPriceTooLow\W*)?Your Spot request price of (?P<offered>[\d.]+) is lower than "
        r"the minimum required Spot request fulfillment price of (?P<needed>\d[\d.]*\d)|"
        r"SpotMaxPriceTooLow",
        "The spot price is above the cap of infrastructure.gpu.max_price_usd ({offered} $/h is "
        "offered, {needed} $/h is asked).",
        "Raise infrastructure.gpu.max_price_usd and apply stage 01 again, or wait for the price.",
    ),
    rule(
        "spot-count",
        r"MaxSpotInstanceCountExceeded",
        "The account's quota of spot instances is used up.",
        "Ask for more of quota L-3819A6DF (spot G and VT, vCPUs); notebook 00 prints the request.",
    ),
    rule(
        "vcpu-quota",
        r"VcpuLimitExceeded|more vCPU capacity than your current vCPU limit of (?P<limit>\d+)",
        "The account's quota of vCPUs for this family ({limit}) does not allow the instance.",
        "Ask for more of quota L-DB2E81BA (on-demand) or L-3819A6DF (spot); notebook 00 prints "
        "the request.",
    ),
    rule(
        "no-capacity-on-demand",
        r"Could not launch On-Demand Instances\.\s*InsufficientInstanceCapacity",
        "AWS has no capacity for these instance types in these zones now, not even on demand.",
        "Wait and repeat the step, or choose other types, zones or another region.",
    ),
    rule(
        "no-spot-capacity",
        r"InsufficientInstanceCapacity|UnfulfillableCapacity|no Spot capacity available",
        "AWS has no spot capacity for these instance types in these zones now.",
        RETRY_SPOT,
    ),
    rule(
        "type-not-in-zone",
        r"instance type \((?P<type>[\w.]+)\) is not supported in your requested Availability Zone "
        r"\((?P<zone>[\w-]+)\)",
        "{type} is not offered in {zone}.",
        "Choose other zones or types; notebook 00 lists where each is offered.",
    ),
    rule(
        "free-plan",
        r"not eligible for Free Tier",
        "The account is on the free plan, which does not allow this instance type.",
        "Change to the paid plan in the billing console; notebook 00 shows the plan.",
    ),
    rule(
        "no-linked-role",
        r"create the service-linked role for EC2 Spot|ServiceLinkedRoleCreationNotPermitted",
        "The account has no service-linked role for spot instances, and may not make it.",
        "Have an admin run: aws iam create-service-linked-role --aws-service-name "
        "spot.amazonaws.com",
    ),
    rule(
        "node-group-broken",
        r"AutoScalingGroupNotFound|Ec2LaunchTemplate(?:NotFound|VersionMismatch)|"
        r"Iam(?:NodeRole|InstanceProfile)NotFound|Ec2S(?:ubnet|ecurityGroup)NotFound|AmiIdNotFound",
        "Something that the managed node group stands on has been changed or removed since.",
        "Apply stage 01 again.",
    ),
    rule(
        "node-not-joined",
        r"NodeCreationFailure|failed to join the kubernetes cluster",
        "The instances run, and do not join the cluster.",
        "The system log of one ('aws ec2 get-console-output') says why; the policies of the nodes' "
        "role and the private subnets' way out (NAT) are the usual causes. Then apply stage 01 "
        "again.",
    ),
    rule(
        "no-addresses",
        r"InsufficientFreeAddresses",
        "The private subnets have no address left for another node.",
        "Let fewer nodes run (infrastructure.gpu.max_nodes), or use more zones "
        "(infrastructure.zones) and apply stage 01 again.",
    ),
    rule(
        "instance-limit",
        r"InstanceLimitExceeded",
        "The account may not run more instances of this type.",
        "Ask for more of quota L-3819A6DF (spot G and VT) or L-DB2E81BA (on demand), vCPUs; "
        "notebook 00 prints the request.",
    ),
    rule(
        "launch-template",
        r"InvalidAMIID|Invalid launch template|launch template .{0,80}does not exist|"
        r"InvalidKeyPair|Client\.InvalidParameter",
        "The launch template of the GPU nodes is not valid any more.",
        "Apply stage 01 again.",
    ),
)

SCHEDULING = (
    rule(
        "no-gpu-free",
        r"nodes are available.*Insufficient nvidia\.com/gpu",
        "No node has a free GPU: {detail}",
        "Wait for the autoscaler's node, raise infrastructure.gpu.max_nodes, or delete what holds "
        "the GPU; where no GPU was ever seen, run notebook 02.",
        passing=True,
    ),
    rule(
        "cordoned",
        r"nodes are available.*node\(s\) were unschedulable",
        "A node that might take the pod is cordoned: {detail}",
        "Uncordon it once it may work again (kubectl uncordon <node>), or wait for a new one.",
        passing=True,
    ),
    rule(
        "untolerated-taint",
        r"nodes are available.*untolerated taint",
        "The pod does not tolerate a taint: {detail}",
        "Put the toleration of k8s/contract.yaml into the values.",
        passing=True,
    ),
    rule(
        "no-room",
        r"nodes are available.*(?:Insufficient (?P<resource>[\w./-]+)|Too many pods)",
        "No node has room: {detail}",
        "Lower the requests in the values, or add nodes.",
        passing=True,
    ),
    rule(
        "no-node-matches",
        r"nodes are available.*(?:didn't match Pod's node affinity|node selector)",
        "No node has the labels that the pod asks for: {detail}",
        "Run notebook 02 (nodes, label), or correct nodeSelector in the values.",
        passing=True,
    ),
    rule(
        "no-nodes",
        r"no nodes available to schedule pods|0/0 nodes are available",
        "The cluster has no node that could take the pod.",
        "Run notebook 01; on AWS its nodes must be Ready first.",
        passing=True,
    ),
)
