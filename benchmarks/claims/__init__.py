"""What the field says, measured here: small real data, equal compute, three seeds, a sign and its interval.

`python -m benchmarks claims NAME` measures one claim, without a name all of them; what was measured before is not measured
again. Each module of this folder whose name does not begin with an underscore is one claim.
"""
