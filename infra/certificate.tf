# HTTPS without a domain: the run's own certificate, which its clients verify with its PEM file.

resource "aws_acm_certificate" "this" {
  count = var.certificate_file == "" ? 0 : 1

  certificate_body = file(var.certificate_file)
  private_key      = file(var.certificate_key_file)

  tags = { Name = var.name }

  lifecycle {
    create_before_destroy = true # the old one cannot be deleted while the load balancer uses it
  }
}
