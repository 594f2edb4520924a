"""Takes secrets and personal data out of training rows, and says what it took out, never what it was.

Every value becomes `REDACTED_<KIND>_<n>`, the same value the same placeholder within one data set. The form is an
identifier on purpose: it is valid inside string literals and as a bare word, so code that parsed before parses after.

Limits: names of people where no author tag stands before them, postal addresses and secrets without a known shape or a telling
key beside them are not found. Nobody can promise that nothing is left; the report carries samples for a person to read.
"""
