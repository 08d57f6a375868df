-- The backend's own database, made when the composition's Postgres starts for the first time.
CREATE DATABASE shop;
