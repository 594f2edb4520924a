"""The web console: pages for operators and tenants.

One module in `pages/` answers one page; what it shows is gathered by the small modules beside it. Rows are changed through
the packages that own them. The layout follows django-unfold's looks with a base template of its own, free of inline script.
"""
