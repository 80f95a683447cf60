"""What users look at: `describe` and `LearningSpeed`."""
