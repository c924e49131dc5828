"""What the project claims in numbers, each measured by one command."""
