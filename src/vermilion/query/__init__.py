"""See where.py for filters, search.py for searches and plans.py for what they become."""
