# The alternative `managed-spot`: an EKS node group with spot instances and no price cap.

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
  gpu = {
    capacity      = "managed-spot"
    max_price_usd = 0.30
    min_nodes     = 0
    desired_nodes = 1
    max_nodes     = 2
    disk_gib      = 100
  }
}

run "nodes_are_the_contracts_without_a_cap_and_the_switch_closes_the_group" {
  command = plan

  assert {
    condition     = aws_eks_node_group.gpu[0].capacity_type == "SPOT" && aws_eks_node_group.gpu[0].ami_type == "AL2023_x86_64_NVIDIA" && aws_eks_node_group.gpu[0].instance_types == tolist(local.contract.gpu.instanceTypes)
    error_message = "The node group must use spot, the NVIDIA image and the contract's instance types."
  }
  assert {
    condition = one(aws_eks_node_group.gpu[0].taint) == {
      key = local.contract.gpu.taint.key, value = local.contract.gpu.taint.value, effect = "NO_SCHEDULE"
    } && aws_eks_node_group.gpu[0].labels[local.contract.gpu.label.key] == local.contract.gpu.label.value
    error_message = "The node group must have the contract's taint and label."
  }
  assert {
    condition     = aws_launch_template.gpu.image_id == null && aws_launch_template.gpu.user_data == null && length(aws_launch_template.gpu.iam_instance_profile) == 0
    error_message = "A managed group's launch template must not set image, user data or instance profile."
  }
  assert {
    condition     = length(aws_autoscaling_group.gpu) == 0 && length(aws_eks_access_entry.gpu_nodes) == 0 && length(data.aws_ssm_parameter.gpu_image) == 0
    error_message = "Terraform must not create an Auto Scaling group or access entry of its own here: EKS does."
  }
  assert {
    condition     = output.gpu_max_price == 0 && output.gpu_capacity == "managed-spot" && output.gpu_asg_name == "eks-mock"
    error_message = "The outputs must report no price cap and the Auto Scaling group of EKS."
  }
  assert {
    condition     = aws_autoscaling_group_tag.gpu["k8s.io/cluster-autoscaler/node-template/resources/${local.contract.gpu.resource}"].tag[0].value == tostring(local.contract.gpu.perNode) && aws_autoscaling_group_tag.gpu["project"].tag[0].value == "gpu-e2e"
    error_message = "The Auto Scaling group of EKS must have the cost tags and the autoscaler's tags."
  }

  assert {
    condition     = aws_scheduler_schedule.dead_man.target[0].arn == "arn:aws:scheduler:::aws-sdk:eks:updateNodegroupConfig"
    error_message = "The schedule must call EKS directly."
  }
  assert {
    condition = jsondecode(aws_scheduler_schedule.dead_man.target[0].input) == {
      ClusterName   = "gpu-e2e"
      NodegroupName = "gpu-e2e-gpu"
      ScalingConfig = { MinSize = 0, DesiredSize = 0, MaxSize = 1 }
      Taints        = { AddOrUpdateTaints = [{ Key = "dead-man", Value = "fired", Effect = "NO_EXECUTE" }] }
    }
    error_message = "EKS requires a maximum of at least 1, so a taint must stop the autoscaler from using the group."
  }
  assert {
    condition     = data.aws_iam_policy_document.dead_man.statement[0].resources == toset(["arn:aws:eks:us-east-1:123456789012:nodegroup/gpu-e2e/gpu-e2e-gpu/*"])
    error_message = "The role of the dead man's switch must be limited to this group."
  }
}
