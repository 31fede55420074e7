"""The validity-aware surrogate: says whether a sizing works, and only then how well."""
