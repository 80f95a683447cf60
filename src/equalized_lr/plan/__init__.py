"""What a call means: the survey, the rule, the checks; decided before anything is touched."""
