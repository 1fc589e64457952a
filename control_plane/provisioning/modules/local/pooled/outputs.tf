output "database" {
  description = "Where the tenant's rows live."
  value       = terraform_data.membership.output.database
}
