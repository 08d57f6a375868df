DROP TABLE holder;
DROP TABLE evidence;
DROP TABLE payloads;
DROP TABLE requests;
