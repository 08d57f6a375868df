SELECT i.identity FROM store_identity i WHERE i.one
