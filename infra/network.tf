# VPC, public and private subnets in the cluster's and the GPUs' zones, NAT, and a free S3 endpoint.

data "aws_availability_zones" "this" {
  #checkov:skip=CKV_AWS_394:A stack lives for hours and takes the first zones only; zone ids differ between accounts
  state = "available"
  # Zones in which EKS places no control plane (EKS user guide, "Subnet requirements").
  exclude_zone_ids = ["use1-az3", "usw1-az2", "cac1-az3"]

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

data "aws_ec2_instance_type_offerings" "gpu" {
  location_type = "availability-zone"

  filter {
    name   = "instance-type"
    values = local.contract.gpu.instanceTypes
  }
}

locals {
  # Control plane and system nodes are in the first zones. Spot capacity is in any, so GPU nodes may
  # start wherever one of their types is offered. Each such zone has a public subnet, too: targets in
  # a zone that the load balancer is not enabled for get no request (Target.NotInUse).
  cluster_zones = slice(data.aws_availability_zones.this.names, 0, var.zones)
  zones = distinct(concat(local.cluster_zones, [
    for zone in data.aws_availability_zones.this.names : zone
    if contains(data.aws_ec2_instance_type_offerings.gpu.locations, zone)
  ]))
  public  = { for number, zone in local.zones : zone => cidrsubnet(var.vpc_cidr, 8, number) }
  private = { for number, zone in local.zones : zone => cidrsubnet(var.vpc_cidr, 4, number + 1) }
  # The subnets with a NAT gateway, and the gateway that each zone's private subnet uses.
  nat_zones = slice(local.zones, 0, var.nat_per_zone ? var.zones : 1)
  nat_of    = { for zone in local.zones : zone => contains(local.nat_zones, zone) ? zone : local.zones[0] }
}

resource "aws_vpc" "this" {
  #checkov:skip=CKV2_AWS_12:Managing the default group needs permission to tag, and so to change, every security group of the account
  #checkov:skip=CKV2_AWS_11:Flow logs are billed per gigabyte and would outlive a network of an hour
  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = var.name }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = var.name }

  timeouts {
    delete = "5m" # then the teardown looks for what holds it; the provider would try for 20 minutes
  }
}

resource "aws_subnet" "public" {
  for_each = local.public

  vpc_id                  = aws_vpc.this.id
  availability_zone       = each.key
  cidr_block              = each.value
  map_public_ip_on_launch = false

  tags = {
    Name                                = "${var.name}-public-${each.key}"
    "kubernetes.io/role/elb"            = "1"
    "kubernetes.io/cluster/${var.name}" = "shared"
  }

  timeouts {
    delete = "5m" # then the teardown looks for what holds it; the provider would try for 20 minutes
  }
}

resource "aws_subnet" "private" {
  for_each = local.private

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = each.value

  tags = {
    Name                                = "${var.name}-private-${each.key}"
    "kubernetes.io/role/internal-elb"   = "1"
    "kubernetes.io/cluster/${var.name}" = "shared"
  }

  timeouts {
    delete = "5m" # then the teardown looks for what holds it; the provider would try for 20 minutes
  }
}

resource "aws_eip" "nat" {
  for_each = toset(local.nat_zones)

  domain = "vpc"
  tags   = { Name = "${var.name}-nat-${each.key}" }

  depends_on = [aws_internet_gateway.this]
}

resource "aws_nat_gateway" "this" {
  for_each = toset(local.nat_zones)

  allocation_id = aws_eip.nat[each.key].id
  subnet_id     = aws_subnet.public[each.key].id
  tags          = { Name = "${var.name}-${each.key}" }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-public" }
}

resource "aws_route" "public" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this.id
}

resource "aws_route_table_association" "public" {
  for_each = aws_subnet.public

  subnet_id      = each.value.id
  route_table_id = aws_route_table.public.id
}

resource "aws_route_table" "private" {
  for_each = local.private

  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-private-${each.key}" }
}

resource "aws_route" "private" {
  for_each = local.private

  route_table_id         = aws_route_table.private[each.key].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.this[local.nat_of[each.key]].id
}

resource "aws_route_table_association" "private" {
  for_each = aws_subnet.private

  subnet_id      = each.value.id
  route_table_id = aws_route_table.private[each.key].id
}

# Model files and image layers come from S3; through NAT, each gigabyte would be billed.
resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [for table in aws_route_table.private : table.id]
  tags              = { Name = "${var.name}-s3" }
}
