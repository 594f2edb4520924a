"""From an uploaded file to training rows: validation, rules, duplicates, desensitizing, report. No torch, no Django."""
