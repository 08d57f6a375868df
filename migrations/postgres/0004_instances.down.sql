DROP TABLE walks;
DROP TABLE instances;
