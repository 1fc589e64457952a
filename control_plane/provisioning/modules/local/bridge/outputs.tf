output "database" {
  description = "Where the tenant's rows live."
  value       = terraform_data.database.output
}

output "reference" {
  description = "The shared database of reference rows, which the tenant reads."
  value       = terraform_data.membership.output.reference
}
