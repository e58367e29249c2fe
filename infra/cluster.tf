# The EKS control plane, its OIDC provider, and who may administer it.

data "aws_iam_policy_document" "trust_eks" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["eks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "cluster" {
  name                 = "${var.name}-cluster"
  assume_role_policy   = data.aws_iam_policy_document.trust_eks.json
  permissions_boundary = local.boundary
}

resource "aws_iam_role_policy_attachment" "cluster" {
  role       = aws_iam_role.cluster.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/AmazonEKSClusterPolicy"
}

resource "aws_eks_cluster" "this" {
  #checkov:skip=CKV_AWS_37:EKS re-creates its log group after destroy, as a leftover (terraform-aws-eks#920)
  #checkov:skip=CKV_AWS_39:The notebooks use the API from outside; it accepts only their own address
  #checkov:skip=CKV_AWS_58:EKS encrypts all API data with its own key since 1.28; our own KMS key would outlive the run by at least a week
  name     = var.name
  version  = var.kubernetes_version
  role_arn = aws_iam_role.cluster.arn

  # EKS installs CNI, CoreDNS and kube-proxy itself, so add-ons are not needed.
  bootstrap_self_managed_addons = true
  enabled_cluster_log_types     = []

  vpc_config {
    subnet_ids              = concat([for zone in local.cluster_zones : aws_subnet.private[zone].id], [for zone in local.cluster_zones : aws_subnet.public[zone].id])
    endpoint_private_access = true
    endpoint_public_access  = true
    public_access_cidrs     = [var.api_cidr]
  }

  access_config {
    authentication_mode                         = "API"
    bootstrap_cluster_creator_admin_permissions = true
  }

  upgrade_policy {
    support_type = "STANDARD" # extended support bills six times as much
  }

  kubernetes_network_config {
    service_ipv4_cidr = var.service_cidr
  }

  depends_on = [aws_iam_role_policy_attachment.cluster]
}

# Without thumbprints: AWS trusts the certificate authority of EKS's issuer itself.
resource "aws_iam_openid_connect_provider" "this" {
  url            = aws_eks_cluster.this.identity[0].oidc[0].issuer
  client_id_list = ["sts.amazonaws.com"]
}

resource "aws_eks_access_entry" "admin" {
  for_each = toset(var.admin_arns)

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = each.value
}

resource "aws_eks_access_policy_association" "admin" {
  for_each = toset(var.admin_arns)

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = aws_eks_access_entry.admin[each.value].principal_arn
  policy_arn    = "arn:${local.partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"

  access_scope {
    type = "cluster"
  }
}
