# A shop as it grows: catalogue, customers, orders, stock.
CREATE DATABASE app_shop DEFAULT CHARACTER SET utf8mb4
USE app_shop
CREATE TABLE category (id INT UNSIGNED NOT NULL AUTO_INCREMENT, parent_id INT UNSIGNED NULL, name VARCHAR(80) NOT NULL, slug VARCHAR(80) NOT NULL, PRIMARY KEY (id), UNIQUE KEY by_slug (slug), KEY by_parent (parent_id), CONSTRAINT category_parent FOREIGN KEY (parent_id) REFERENCES category (id) ON DELETE SET NULL) ENGINE=InnoDB COMMENT='tree of categories'
CREATE TABLE brand (id SMALLINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, name VARCHAR(60) NOT NULL UNIQUE, country CHAR(2) NOT NULL DEFAULT 'DE')
CREATE TABLE product (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, sku VARCHAR(32) CHARACTER SET ascii NOT NULL, category_id INT UNSIGNED, brand_id SMALLINT UNSIGNED, title VARCHAR(200) NOT NULL, body MEDIUMTEXT, price DECIMAL(12,2) NOT NULL DEFAULT '0.00', weight_g INT UNSIGNED, active TINYINT(1) NOT NULL DEFAULT 1, created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, updated_at TIMESTAMP NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (id), UNIQUE KEY (sku), KEY (category_id, active), FULLTEXT KEY words (title, body)) ENGINE=InnoDB
ALTER TABLE product ADD CONSTRAINT product_category FOREIGN KEY (category_id) REFERENCES category (id) ON UPDATE CASCADE
ALTER TABLE product ADD CONSTRAINT product_brand FOREIGN KEY by_brand (brand_id) REFERENCES brand (id)
CREATE TABLE product_image (product_id BIGINT UNSIGNED NOT NULL, position TINYINT UNSIGNED NOT NULL, url VARCHAR(500) NOT NULL, alt VARCHAR(200), PRIMARY KEY (product_id, position), FOREIGN KEY (product_id) REFERENCES product (id) ON DELETE CASCADE)
CREATE TABLE product_tag (product_id BIGINT UNSIGNED NOT NULL, tag VARCHAR(40) NOT NULL, PRIMARY KEY (product_id, tag), KEY by_tag (tag))
CREATE TABLE IF NOT EXISTS customer (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, email VARCHAR(190) NOT NULL, pass BINARY(60) NOT NULL, first_name VARCHAR(50), last_name VARCHAR(50), born DATE, newsletter BIT(1) NOT NULL DEFAULT b'0', score FLOAT, balance DOUBLE NOT NULL DEFAULT 0, created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, UNIQUE KEY by_email (email))
CREATE TABLE IF NOT EXISTS customer (id INT)
CREATE TABLE address (id BIGINT UNSIGNED AUTO_INCREMENT, customer_id BIGINT UNSIGNED NOT NULL, kind ENUM('billing','shipping','other') NOT NULL DEFAULT 'billing', street VARCHAR(120), zip VARCHAR(12), city VARCHAR(80), country CHAR(2), PRIMARY KEY (id), KEY by_customer (customer_id))
CREATE TABLE orders (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, number VARCHAR(20) NOT NULL, customer_id BIGINT UNSIGNED, state ENUM('new','paid','sent','done','void') NOT NULL DEFAULT 'new', flags SET('gift','express','b2b') NOT NULL DEFAULT '', total DECIMAL(14,4) NOT NULL, placed_at DATETIME(3) NOT NULL, note TEXT) AUTO_INCREMENT=1000
CREATE UNIQUE INDEX by_number ON orders (number)
CREATE INDEX by_customer_state ON orders (customer_id, state)
CREATE TABLE order_line (order_id BIGINT UNSIGNED NOT NULL, line SMALLINT UNSIGNED NOT NULL, product_id BIGINT UNSIGNED NOT NULL, quantity INT NOT NULL DEFAULT 1, price DECIMAL(12,2) NOT NULL, PRIMARY KEY (order_id, line), CONSTRAINT line_order FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE, CONSTRAINT line_product FOREIGN KEY (product_id) REFERENCES product (id))
CREATE TABLE warehouse (code CHAR(4) PRIMARY KEY, name VARCHAR(60), lat DECIMAL(9,6), lon DECIMAL(9,6)) COMMENT 'it''s where things are'
CREATE TABLE stock (warehouse CHAR(4) NOT NULL, product_id BIGINT UNSIGNED NOT NULL, amount INT NOT NULL DEFAULT 0, reserved INT NOT NULL DEFAULT 0, PRIMARY KEY (product_id, warehouse))
CREATE TABLE coupon (code VARCHAR(20) NOT NULL PRIMARY KEY, percent TINYINT UNSIGNED, valid_from DATE, valid_to DATE, uses INT UNSIGNED DEFAULT 0)
CREATE TABLE review (id INT AUTO_INCREMENT PRIMARY KEY, product_id BIGINT UNSIGNED NOT NULL, stars TINYINT NOT NULL, words TEXT, KEY (product_id, stars DESC))
ALTER TABLE product ADD COLUMN ean CHAR(13) NULL AFTER sku
ALTER TABLE product ADD COLUMN (width_mm SMALLINT, height_mm SMALLINT, depth_mm SMALLINT)
ALTER TABLE product ADD shelf VARCHAR(10) FIRST
ALTER TABLE product DROP COLUMN shelf
ALTER TABLE product MODIFY COLUMN title VARCHAR(255) NOT NULL COMMENT 'shown in lists; "quoted", a, b'
ALTER TABLE product CHANGE COLUMN weight_g weight INT UNSIGNED NULL COMMENT 'grams'
ALTER TABLE product ALTER COLUMN price SET DEFAULT '1.00'
ALTER TABLE product ALTER active DROP DEFAULT
ALTER TABLE product ALTER active SET DEFAULT 0
ALTER TABLE product RENAME COLUMN body TO description
ALTER TABLE product ADD INDEX by_price (price), ADD INDEX by_created (created_at)
ALTER TABLE product DROP INDEX by_created
ALTER TABLE product DROP KEY by_price, ADD KEY by_price_active (active, price)
ALTER TABLE product RENAME INDEX by_price_active TO active_price
ALTER TABLE product ADD tax DECIMAL(4,2) NOT NULL DEFAULT 19.00, MODIFY price DECIMAL(14,2) NOT NULL, DROP depth_mm
ALTER TABLE product ADD a1 INT, ADD a2 INT AFTER a1, ADD a3 INT FIRST
ALTER TABLE product DROP a1, DROP a2, DROP COLUMN a3
ALTER TABLE product ORDER BY sku
ALTER TABLE product COMMENT='what we sell', ROW_FORMAT=DYNAMIC
ALTER TABLE product AUTO_INCREMENT=5000
ALTER TABLE product ADD discount DECIMAL(14,2) GENERATED ALWAYS AS (price * 0.9) VIRTUAL
ALTER TABLE product ADD title_length INT AS (CHAR_LENGTH(title)) STORED
ALTER TABLE product ADD KEY by_discount (discount)
ALTER TABLE product DROP KEY by_discount, DROP COLUMN discount
ALTER TABLE product DROP FOREIGN KEY product_brand
ALTER TABLE product DROP KEY product_brand
ALTER TABLE product ADD FOREIGN KEY (brand_id) REFERENCES app_shop.brand (id) ON DELETE SET NULL ON UPDATE NO ACTION
ALTER TABLE brand MODIFY country CHAR(3) NOT NULL DEFAULT 'DEU', ADD founded YEAR
ALTER TABLE brand CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
ALTER TABLE brand DEFAULT CHARACTER SET latin1
ALTER TABLE brand ADD motto VARCHAR(100)
ALTER TABLE customer ADD phone VARCHAR(30) DEFAULT NULL, ADD KEY by_phone (phone(10))
ALTER TABLE customer DROP KEY by_phone, ADD UNIQUE by_phone (phone)
ALTER TABLE customer MODIFY email VARCHAR(250) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL
ALTER TABLE customer MODIFY newsletter TINYINT(1) NOT NULL DEFAULT 0
ALTER TABLE customer ADD locale CHAR(5) NOT NULL DEFAULT 'en_GB', ADD COLUMN last_seen TIMESTAMP(6) NULL
ALTER TABLE customer ADD FULLTEXT INDEX names (first_name, last_name)
ALTER TABLE address ADD CONSTRAINT address_customer FOREIGN KEY (customer_id) REFERENCES customer (id) ON DELETE CASCADE
ALTER TABLE address MODIFY kind ENUM('billing','shipping','other','pickup') NOT NULL DEFAULT 'billing'
ALTER TABLE orders MODIFY flags SET('gift','express','b2b','test') NOT NULL DEFAULT ''
ALTER TABLE orders ADD CONSTRAINT order_customer FOREIGN KEY (customer_id) REFERENCES customer (id) ON DELETE SET NULL
ALTER TABLE orders ADD currency CHAR(3) NOT NULL DEFAULT 'EUR' AFTER total, ADD KEY by_placed (placed_at)
ALTER TABLE orders CHANGE note remark MEDIUMTEXT
ALTER TABLE orders MODIFY placed_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
ALTER TABLE order_line ADD tax DECIMAL(4,2) NOT NULL DEFAULT 0, ADD KEY by_product (product_id, order_id)
ALTER TABLE order_line DROP FOREIGN KEY line_product
ALTER TABLE stock DROP PRIMARY KEY, ADD PRIMARY KEY (warehouse, product_id)
ALTER TABLE stock ADD CHECK (amount >= 0)
ALTER TABLE stock ADD CONSTRAINT reserved_fits CHECK (reserved <= amount)
ALTER TABLE stock DROP CONSTRAINT reserved_fits
ALTER TABLE coupon ADD COLUMN id INT UNSIGNED NOT NULL AUTO_INCREMENT UNIQUE
ALTER TABLE coupon RENAME TO voucher
ALTER TABLE voucher RENAME AS coupons
ALTER TABLE coupons RENAME app_shop.coupon
RENAME TABLE review TO rating
RENAME TABLE rating TO review_old, warehouse TO depot
RENAME TABLE review_old TO review, depot TO warehouse
CREATE TABLE review_new LIKE review
ALTER TABLE review_new ADD helpful INT UNSIGNED NOT NULL DEFAULT 0
RENAME TABLE review TO review_old, review_new TO review
DROP TABLE review_old
CREATE TABLE best (PRIMARY KEY (id)) SELECT id, title, price FROM product WHERE price > 100
CREATE TABLE report_by_state AS SELECT state, COUNT(*) AS n, SUM(total) AS total FROM orders GROUP BY state
CREATE TABLE copy_of_stock LIKE app_shop.stock
TRUNCATE TABLE copy_of_stock
TRUNCATE copy_of_stock
DROP TABLE copy_of_stock, best
DROP TABLE IF EXISTS never_was, report_by_state
CREATE VIEW active_product AS SELECT id, title FROM product WHERE active = 1
CREATE OR REPLACE VIEW active_product AS SELECT id, title, price FROM product WHERE active = 1
ALTER VIEW active_product AS SELECT id FROM product
DROP VIEW active_product
CREATE TRIGGER stock_before BEFORE UPDATE ON stock FOR EACH ROW SET NEW.reserved = LEAST(NEW.reserved, NEW.amount)
DROP TRIGGER stock_before
CREATE PROCEDURE cheapest() SELECT id FROM product ORDER BY price LIMIT 1
ALTER PROCEDURE cheapest COMMENT 'the cheapest'
DROP PROCEDURE cheapest
CREATE FUNCTION vat(p DECIMAL(12,2)) RETURNS DECIMAL(12,2) DETERMINISTIC RETURN p * 1.19
DROP FUNCTION IF EXISTS vat
CREATE EVENT clean_up ON SCHEDULE EVERY 1 DAY DO DELETE FROM coupon WHERE valid_to < NOW()
ALTER EVENT clean_up DISABLE
DROP EVENT clean_up
ANALYZE TABLE product
OPTIMIZE TABLE coupon
REPAIR TABLE coupon
FLUSH TABLES
CREATE USER 'corpus'@'localhost' IDENTIFIED BY 'Corpus-secret-1'
GRANT SELECT ON app_shop.* TO 'corpus'@'localhost'
REVOKE SELECT ON app_shop.* FROM 'corpus'@'localhost'
RENAME USER 'corpus'@'localhost' TO 'corpus2'@'localhost'
DROP USER 'corpus2'@'localhost'
CREATE TEMPORARY TABLE scratch (id INT PRIMARY KEY, v TEXT)
ALTER TABLE scratch ADD w INT
CREATE INDEX by_w ON scratch (w)
TRUNCATE TABLE scratch
DROP TEMPORARY TABLE scratch
CREATE INDEX by_customer ON orders (customer_id)
DROP INDEX by_customer_state ON orders
ALTER TABLE product DROP INDEX words
ALTER TABLE customer ENGINE=InnoDB
ALTER TABLE customer FORCE
ALTER TABLE brand ADD COLUMN vip TINYINT, ALGORITHM=INPLACE, LOCK=NONE
ALTER TABLE brand DROP COLUMN vip, ALGORITHM=COPY, LOCK=SHARED
ALTER TABLE customer DISABLE KEYS
ALTER TABLE customer ENABLE KEYS
