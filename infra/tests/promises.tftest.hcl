# What the stack promises with its defaults: network, cluster, capped nodes, guardrails, tags.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}
mock_provider "aws" {
  alias           = "billing"
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  run_id   = "20261124T0900Z-aws"
  api_cidr = "203.0.113.7/32"
}

run "network_nodes_guardrails_and_roles_are_as_promised" {
  command = plan

  assert {
    condition     = keys(aws_subnet.public) == ["us-east-1a", "us-east-1b", "us-east-1c"] && keys(aws_subnet.private) == keys(aws_subnet.public)
    error_message = "A public and a private subnet in each of two zones, and in each that offers GPUs."
  }
  assert {
    condition     = join(" ", local.cluster_zones) == "us-east-1a us-east-1b"
    error_message = "Control plane and system nodes are in two zones."
  }
  assert {
    condition     = join(" ", local.gpu_zones) == "us-east-1a us-east-1c"
    error_message = "GPU nodes may start in each zone that offers one of their types, and in no other."
  }
  assert {
    condition     = alltrue([for subnet in aws_subnet.public : subnet.tags["kubernetes.io/role/elb"] == "1" && !subnet.map_public_ip_on_launch])
    error_message = "Public subnets have the role tag of internet-facing load balancers, and give no public addresses."
  }
  assert {
    condition     = alltrue([for subnet in aws_subnet.private : subnet.tags["kubernetes.io/role/internal-elb"] == "1"])
    error_message = "Private subnets have the role tag of internal load balancers."
  }
  assert {
    condition     = keys(aws_nat_gateway.this) == ["us-east-1a"] && length(aws_route.private) == 3
    error_message = "One NAT gateway serves all private subnets."
  }
  assert {
    condition     = aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway" && endswith(aws_vpc_endpoint.s3.service_name, ".s3")
    error_message = "S3 is reached over a gateway endpoint, which is free."
  }

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].public_access_cidrs == toset(["203.0.113.7/32"])
    error_message = "The public endpoint is open to the caller's address only; never to 0.0.0.0/0."
  }
  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_public_access && aws_eks_cluster.this.vpc_config[0].endpoint_private_access
    error_message = "The endpoint is public for the notebooks and private for the nodes."
  }
  assert {
    condition     = aws_eks_cluster.this.upgrade_policy[0].support_type == "STANDARD"
    error_message = "Extended support bills six times as much."
  }
  assert {
    condition     = aws_eks_cluster.this.access_config[0].authentication_mode == "API" && length(aws_eks_cluster.this.enabled_cluster_log_types) == 0
    error_message = "Access must use access entries, and control plane logs must be off."
  }
  assert {
    condition     = aws_eks_access_entry.gpu_nodes.type == "EC2_LINUX" && aws_eks_access_entry.gpu_nodes.principal_arn == aws_iam_role.gpu_nodes.arn
    error_message = "Self-managed nodes join by an access entry of their own role."
  }
  assert {
    condition     = aws_iam_openid_connect_provider.this.client_id_list == toset(["sts.amazonaws.com"])
    error_message = "IAM must have an OIDC provider for the cluster's issuer."
  }
  assert {
    condition     = aws_iam_role.cluster.permissions_boundary == null
    error_message = "Without the deployer role, roles have no permissions boundary."
  }

  assert {
    condition     = aws_autoscaling_group.gpu.mixed_instances_policy[0].instances_distribution[0].spot_max_price == "0.3"
    error_message = "The Auto Scaling group must have the price cap."
  }
  assert {
    condition = (
      aws_autoscaling_group.gpu.mixed_instances_policy[0].instances_distribution[0].on_demand_base_capacity == 0 &&
      aws_autoscaling_group.gpu.mixed_instances_policy[0].instances_distribution[0].on_demand_percentage_above_base_capacity == 0 &&
      aws_autoscaling_group.gpu.mixed_instances_policy[0].instances_distribution[0].spot_allocation_strategy == "price-capacity-optimized"
    )
    error_message = "Only spot, allocated by price and capacity."
  }
  assert {
    condition     = aws_autoscaling_group.gpu.mixed_instances_policy[0].launch_template[0].override[*].instance_type == tolist(local.contract.gpu.instanceTypes)
    error_message = "The instance types are the contract's."
  }
  assert {
    condition     = [aws_autoscaling_group.gpu.min_size, aws_autoscaling_group.gpu.desired_capacity, aws_autoscaling_group.gpu.max_size] == [0, 1, 2]
    error_message = "Minimum 0, desired 1, maximum 2."
  }
  assert {
    condition     = aws_autoscaling_group.gpu.wait_for_capacity_timeout == "0" && !aws_autoscaling_group.gpu.capacity_rebalance
    error_message = "apply must not wait for capacity, and rebalancing must not terminate a healthy node."
  }
  assert {
    condition     = aws_autoscaling_group.gpu.suspended_processes == toset(["AZRebalance"])
    error_message = "Nodes must not be replaced to balance the zones."
  }

  assert {
    condition     = data.aws_ssm_parameter.gpu_image.name == "/aws/service/eks/optimized-ami/1.35/amazon-linux-2023/x86_64/nvidia/recommended/image_id"
    error_message = "The NVIDIA image of Amazon Linux 2023 for the cluster's version."
  }
  assert {
    condition     = aws_launch_template.gpu.image_id == "ami-0123456789abcdef0"
    error_message = "The launch template has that image."
  }
  assert {
    condition = alltrue([
      for disk in aws_launch_template.gpu.block_device_mappings[*].ebs[0] :
      disk.volume_size >= 80 && disk.volume_type == "gp3" && disk.encrypted == "true" && disk.delete_on_termination == "true"
    ])
    error_message = "The root disk has 80 GiB or more, is encrypted, and is deleted with its node."
  }
  assert {
    condition = alltrue([
      for metadata in concat(aws_launch_template.gpu.metadata_options, aws_launch_template.system.metadata_options) :
      metadata.http_tokens == "required" && metadata.http_put_response_hop_limit == 1
    ])
    error_message = "IMDSv2 is required, with a hop limit that pods cannot pass."
  }

  assert {
    condition = strcontains(
      base64decode(aws_launch_template.gpu.user_data),
      "--register-with-taints=${local.contract.gpu.taint.key}=${local.contract.gpu.taint.value}:${local.contract.gpu.taint.effect}",
    )
    error_message = "The kubelet registers with the taint."
  }
  assert {
    condition     = strcontains(base64decode(aws_launch_template.gpu.user_data), "${local.contract.gpu.label.key}=${local.contract.gpu.label.value}")
    error_message = "The kubelet registers with the label."
  }
  assert {
    condition = alltrue([
      for said in ["Content-Type: application/node.eks.aws", "kind\": \"NodeConfig", "https://MOCK.gr7.us-east-1.eks.amazonaws.com", "172.20.0.0/16"] :
      strcontains(base64decode(aws_launch_template.gpu.user_data), said)
    ])
    error_message = "The NodeConfig must contain the cluster's endpoint and service range."
  }

  assert {
    condition = alltrue([
      for key, value in {
        "k8s.io/cluster-autoscaler/enabled"                                                = "true"
        "k8s.io/cluster-autoscaler/gpu-e2e"                                                = "owned"
        "k8s.io/cluster-autoscaler/node-template/label/${local.contract.gpu.label.key}"    = local.contract.gpu.label.value
        "k8s.io/cluster-autoscaler/node-template/taint/${local.contract.gpu.taint.key}"    = "${local.contract.gpu.taint.value}:${local.contract.gpu.taint.effect}"
        "k8s.io/cluster-autoscaler/node-template/resources/${local.contract.gpu.resource}" = tostring(local.contract.gpu.perNode)
        "k8s.io/cluster-autoscaler/node-template/resources/ephemeral-storage"              = "100Gi"
      } : contains([for tag in aws_autoscaling_group.gpu.tag : "${tag.key}=${tag.value}"], "${key}=${value}")
    ])
    error_message = "Label, taint, GPU and disk of a future node are tags of the group."
  }

  assert {
    condition = [for spec in aws_launch_template.gpu.tag_specifications : spec.resource_type] == [
      "instance", "network-interface", "spot-instances-request", "volume",
    ]
    error_message = "The launch template must tag everything that a launch creates."
  }
  assert {
    condition = alltrue([
      for spec in concat(aws_launch_template.gpu.tag_specifications, aws_launch_template.system.tag_specifications) :
      spec.tags["project"] == "gpu-e2e" && spec.tags["owner"] == "Nancy" && spec.tags["run"] == "20261124T0900Z-aws"
    ])
    error_message = "Project, owner and run on instances, volumes, interfaces and spot requests."
  }
  assert {
    condition     = length(setsubtract(["project=gpu-e2e", "owner=Nancy", "run=20261124T0900Z-aws"], [for tag in aws_autoscaling_group.gpu.tag : "${tag.key}=${tag.value}"])) == 0
    error_message = "The GPU group must have the tags project, owner and run."
  }
  assert {
    condition     = { for key, tag in aws_autoscaling_group_tag.system : key => tag.tag[0].value } == local.tags
    error_message = "The Auto Scaling group of the system nodes must have them too."
  }
  assert {
    condition     = local.tags == { project = "gpu-e2e", owner = "Nancy", run = "20261124T0900Z-aws" }
    error_message = "Default tags are project, owner and run."
  }

  assert {
    condition     = aws_scheduler_schedule.dead_man.target[0].arn == "arn:aws:scheduler:::aws-sdk:autoscaling:updateAutoScalingGroup"
    error_message = "The schedule must call Auto Scaling directly, so that it works while no notebook runs."
  }
  assert {
    condition = jsondecode(aws_scheduler_schedule.dead_man.target[0].input) == {
      AutoScalingGroupName = "gpu-e2e-gpu", MinSize = 0, DesiredCapacity = 0, MaxSize = 0
    }
    error_message = "Minimum, desired and maximum must be 0, so that the autoscaler cannot add a node."
  }
  assert {
    condition     = aws_autoscaling_group.gpu.name == local.gpu_group_name
    error_message = "The schedule must name this Auto Scaling group."
  }
  assert {
    condition     = aws_scheduler_schedule.dead_man.schedule_expression == "at(${formatdate("YYYY-MM-DD'T'hh:mm:ss", timeadd(plantimestamp(), "4h"))})" && aws_scheduler_schedule.dead_man.schedule_expression_timezone == "UTC"
    error_message = "Once, four hours from now, in UTC."
  }
  assert {
    condition     = output.dead_man_expires == formatdate("YYYY-MM-DD'T'hh:mm:ssZ", timeadd(plantimestamp(), "4h"))
    error_message = "The schedule's time must be an output."
  }
  assert {
    condition = data.aws_iam_policy_document.dead_man.statement[0].actions == toset(["autoscaling:UpdateAutoScalingGroup"]) && (
      data.aws_iam_policy_document.dead_man.statement[0].resources ==
      toset(["arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:*:autoScalingGroupName/gpu-e2e-gpu"])
    )
    error_message = "The role of the dead man's switch must be limited to this group."
  }

  assert {
    condition = {
      for name, document in data.aws_iam_policy_document.trust_service_account :
      name => [for condition in document.statement[0].condition : condition.values[0] if endswith(condition.variable, ":sub")]
      } == {
      triton             = ["system:serviceaccount:${local.contract.namespaces.triton}:${local.contract.serviceAccounts.triton}"]
      alb_controller     = ["system:serviceaccount:${local.contract.namespaces.system}:${local.contract.serviceAccounts.albController}"]
      cluster_autoscaler = ["system:serviceaccount:${local.contract.namespaces.system}:${local.contract.serviceAccounts.clusterAutoscaler}"]
    }
    error_message = "Each role trusts the contract's service account."
  }
  assert {
    condition = toset(flatten(data.aws_iam_policy_document.read_models.statement[*].resources)) == toset([
      "arn:aws:s3:::gpu-e2e-artifacts-mock", "arn:aws:s3:::gpu-e2e-artifacts-mock/${local.contract.models.prefix}/*",
    ])
    error_message = "Triton reads its models' prefix."
  }
  assert {
    condition     = toset(flatten([for statement in data.aws_iam_policy_document.read_models.statement : statement.actions])) == toset(["s3:GetObject", "s3:ListBucket"])
    error_message = "Triton's role must only get objects and list the bucket."
  }

  assert {
    condition     = aws_ecr_repository.triton.image_tag_mutability == "IMMUTABLE" && aws_ecr_repository.triton.force_delete && aws_ecr_repository.triton.image_scanning_configuration[0].scan_on_push
    error_message = "Tags are immutable, pushes are scanned, and images do not block teardown."
  }
  assert {
    condition     = jsondecode(aws_ecr_lifecycle_policy.triton.policy).rules[0].action.type == "expire"
    error_message = "Old images expire."
  }
  assert {
    condition     = aws_codebuild_project.images.environment[0].privileged_mode && aws_codebuild_project.images.environment[0].compute_type == "BUILD_GENERAL1_MEDIUM" && aws_codebuild_project.images.build_timeout == 60
    error_message = "Docker builds on a disk of 128 GB, for an hour at most."
  }
  assert {
    condition     = aws_codebuild_project.images.logs_config[0].cloudwatch_logs[0].group_name == aws_cloudwatch_log_group.images.name && aws_cloudwatch_log_group.images.retention_in_days == 1
    error_message = "The builds' log is in a group of the stack, and is kept for a day."
  }
  assert {
    condition = toset(flatten([for statement in data.aws_iam_policy_document.build_images.statement : statement.resources])) == toset([
      "arn:aws:s3:::gpu-e2e-artifacts-mock", "arn:aws:s3:::gpu-e2e-artifacts-mock/images/source.zip", "*",
      aws_ecr_repository.triton.arn, "${aws_cloudwatch_log_group.images.arn}:*",
      ]) && [for statement in data.aws_iam_policy_document.build_images.statement : statement.actions if contains(statement.resources, "*")] == [
      toset(["ecr:GetAuthorizationToken"]),
    ]
    error_message = "A build reads its source, and writes to the run's repository and log only."
  }
  assert {
    condition = aws_s3_bucket.artifacts.force_destroy && alltrue([
      aws_s3_bucket_public_access_block.artifacts.block_public_acls, aws_s3_bucket_public_access_block.artifacts.block_public_policy,
      aws_s3_bucket_public_access_block.artifacts.ignore_public_acls, aws_s3_bucket_public_access_block.artifacts.restrict_public_buckets,
    ])
    error_message = "The bucket is private, and is deleted with its objects."
  }
  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.artifacts.rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"
    error_message = "The bucket is encrypted."
  }
  assert {
    condition     = length(aws_acm_certificate.this) == 0 && output.certificate_arn == ""
    error_message = "Without files there is no certificate."
  }

  assert {
    condition     = aws_budgets_budget.account.limit_amount == "5" && aws_budgets_budget.account.time_unit == "MONTHLY" && length(aws_budgets_budget.account.cost_filter) == 0
    error_message = "Five dollars a month for the whole account: costs by tag show nothing for the first day."
  }
  assert {
    condition = toset([for notification in aws_budgets_budget.account.notification : "${notification.notification_type} ${notification.threshold}"]) == toset([
      "ACTUAL 50", "ACTUAL 80", "ACTUAL 100", "FORECASTED 100",
    ])
    error_message = "Notices at 50, 80 and 100 per cent, and at the forecast."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.charges.metric_name == "EstimatedCharges" && aws_cloudwatch_metric_alarm.charges.threshold == 5 && aws_cloudwatch_metric_alarm.charges.alarm_actions == toset([aws_sns_topic.alerts.arn])
    error_message = "The alarm must notify the topic at five dollars of estimated charges."
  }
  assert {
    condition     = length(aws_sns_topic_subscription.email) == 0
    error_message = "Without an e-mail address there must be no subscription."
  }
}

run "budget_and_alarm_come_before_the_first_gpu_node" {
  command = plan

  # A target brings what it depends on, and nothing else: without the dependency, the assertion
  # cannot be evaluated, and Terraform fails.
  plan_options {
    target = [aws_autoscaling_group.gpu]
  }

  assert {
    condition     = aws_budgets_budget.account.limit_amount == "5" && aws_cloudwatch_metric_alarm.charges.threshold == 5
    error_message = "GPU nodes must depend on the budget and the alarm."
  }
}

run "budget_and_alarm_come_before_the_first_system_node" {
  command = plan

  plan_options {
    target = [aws_eks_node_group.system]
  }

  assert {
    condition     = aws_budgets_budget.account.limit_amount == "5" && aws_cloudwatch_metric_alarm.charges.threshold == 5
    error_message = "System nodes must depend on the budget and the alarm."
  }
}

run "nat_in_each_zone_and_people_who_are_named_where_it_is_asked_for" {
  command = plan

  variables {
    zones        = 3
    nat_per_zone = true
    admin_arns   = ["arn:aws:iam::123456789012:role/admin"]
    alert_email  = "nancy@example.com"
  }

  assert {
    condition     = keys(aws_nat_gateway.this) == ["us-east-1a", "us-east-1b", "us-east-1c"]
    error_message = "A NAT gateway in each zone."
  }
  assert {
    condition     = length(distinct(concat([for subnet in aws_subnet.public : subnet.cidr_block], [for subnet in aws_subnet.private : subnet.cidr_block]))) == 6
    error_message = "Six address ranges."
  }
  assert {
    condition     = one(values(aws_eks_access_policy_association.admin)).policy_arn == "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
    error_message = "An administrator's entry comes with the cluster administrator's policy."
  }
  assert {
    condition     = one(aws_sns_topic_subscription.email).endpoint == "nancy@example.com" && alltrue([for notification in aws_budgets_budget.account.notification : notification.subscriber_email_addresses == toset(["nancy@example.com"])])
    error_message = "Alarm and budget must notify the e-mail address."
  }
}

run "the_deployers_roles_stay_inside_its_boundary" {
  command = plan

  override_data {
    target = data.aws_caller_identity.current
    values = {
      account_id = "123456789012"
      arn        = "arn:aws:sts::123456789012:assumed-role/gpu-e2e-deployer/nancy"
    }
  }

  assert {
    condition = toset(concat(
      [for role in aws_iam_role.service_account : role.permissions_boundary],
      [aws_iam_role.cluster.permissions_boundary, aws_iam_role.system_nodes.permissions_boundary, aws_iam_role.gpu_nodes.permissions_boundary, aws_iam_role.dead_man.permissions_boundary, aws_iam_role.build_images.permissions_boundary],
    )) == toset(["arn:aws:iam::123456789012:policy/bootstrap/gpu-e2e-boundary"])
    error_message = "Every role must have the permissions boundary."
  }
}
