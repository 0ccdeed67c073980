"""From the inventory to notices: what there is to say, a fresh look before it is said, and what
staff hear.
"""
