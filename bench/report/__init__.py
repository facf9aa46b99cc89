"""What people see of records: tables, curves, pictures, explanations."""
