"""How good a model is, against what, and whether it may take over.

`comparison`, `gate`, `results` and `report` import nothing heavy; the other modules bring
scikit-learn and matplotlib.
"""
