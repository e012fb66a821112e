# Small applications, each made by the first migrations and changed by the later ones.
CREATE DATABASE app_suite
USE app_suite
CREATE TABLE crm_contact (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(80) NOT NULL, company_id INT, mail VARCHAR(120), stage VARCHAR(20) DEFAULT 'lead', value DECIMAL(10,2))
ALTER TABLE crm_contact ADD COLUMN phone VARCHAR(32)
ALTER TABLE crm_contact ADD INDEX by_mail (mail)
ALTER TABLE crm_contact MODIFY stage ENUM('lead','won','lost') DEFAULT 'lead'
ALTER TABLE crm_contact CHANGE value deal_value DECIMAL(14,2) NOT NULL DEFAULT 0
ALTER TABLE crm_contact ADD UNIQUE one_per_company (company_id, mail), ADD owner INT AFTER name
ALTER TABLE crm_contact DROP INDEX by_mail
ALTER TABLE crm_contact ALTER phone SET DEFAULT 'none'
ALTER TABLE crm_contact ADD COLUMN touched TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP, ADD COLUMN notes TEXT
ALTER TABLE crm_contact MODIFY COLUMN notes LONGTEXT AFTER owner
ALTER TABLE crm_contact RENAME COLUMN mail TO email
ALTER TABLE crm_contact COMMENT 'people'
ALTER TABLE crm_contact DROP COLUMN phone, DROP COLUMN touched
CREATE TABLE crm_contact_archive LIKE crm_contact
RENAME TABLE crm_contact_archive TO crm_old
CREATE TABLE school_pupil (id SMALLINT UNSIGNED NOT NULL, family VARCHAR(40), given VARCHAR(40), born DATE, class CHAR(3), PRIMARY KEY (id))
ALTER TABLE school_pupil MODIFY id INT UNSIGNED NOT NULL AUTO_INCREMENT
ALTER TABLE school_pupil ADD KEY by_class_family (class, family(10))
ALTER TABLE school_pupil ADD left_at DATE NULL
ALTER TABLE school_pupil CHANGE class form VARCHAR(4) NOT NULL DEFAULT '1a'
ALTER TABLE school_pupil ADD average FLOAT DEFAULT 1.5
ALTER TABLE school_pupil MODIFY average DOUBLE
ALTER TABLE school_pupil DROP KEY by_class_family, ADD KEY by_form (form)
ALTER TABLE school_pupil ADD photo MEDIUMBLOB, ADD photo_type VARCHAR(30) DEFAULT 'image/png'
ALTER TABLE school_pupil RENAME KEY by_form TO form_index
ALTER TABLE school_pupil MODIFY family VARCHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL FIRST
CREATE TABLE school_pupil_archive LIKE school_pupil
RENAME TABLE school_pupil_archive TO school_old
CREATE TABLE clinic_visit (visit_id BIGINT NOT NULL, patient INT NOT NULL, at DATETIME NOT NULL, doctor VARCHAR(50), fee DECIMAL(8,2), PRIMARY KEY (visit_id), KEY (patient, at))
ALTER TABLE clinic_visit ADD room TINYINT UNSIGNED
ALTER TABLE clinic_visit MODIFY at DATETIME(3) NOT NULL
ALTER TABLE clinic_visit DROP PRIMARY KEY, ADD PRIMARY KEY (patient, visit_id)
ALTER TABLE clinic_visit ADD UNIQUE (visit_id)
ALTER TABLE clinic_visit CHANGE fee fee DECIMAL(10,3) UNSIGNED DEFAULT NULL
ALTER TABLE clinic_visit ADD paid BIT(1) DEFAULT b'0', ADD codes SET('a','b','c') DEFAULT 'a,c'
ALTER TABLE clinic_visit MODIFY codes SET('a','b','c','d') DEFAULT ''
ALTER TABLE clinic_visit ALTER COLUMN paid DROP DEFAULT
ALTER TABLE clinic_visit DROP COLUMN room
ALTER TABLE clinic_visit ADD minutes INT AS (fee / 2) VIRTUAL
CREATE TABLE clinic_visit_archive LIKE clinic_visit
RENAME TABLE clinic_visit_archive TO clinic_old
CREATE TABLE iot_reading (device CHAR(12) NOT NULL, seq BIGINT UNSIGNED NOT NULL, at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), v DOUBLE, raw VARBINARY(64), PRIMARY KEY (device, seq))
ALTER TABLE iot_reading ADD quality TINYINT NOT NULL DEFAULT 100
ALTER TABLE iot_reading ADD INDEX recent (at DESC)
ALTER TABLE iot_reading MODIFY raw BLOB
ALTER TABLE iot_reading ADD battery DECIMAL(4,1), ADD firmware VARCHAR(16) CHARACTER SET ascii
ALTER TABLE iot_reading DROP INDEX recent, ADD INDEX recent (device, at)
ALTER TABLE iot_reading ALTER quality SET DEFAULT 99
ALTER TABLE iot_reading CHANGE v reading_value DOUBLE NULL COMMENT 'in the device''s unit'
ALTER TABLE iot_reading ADD COLUMN place POINT
ALTER TABLE iot_reading DROP COLUMN place
ALTER TABLE iot_reading PARTITION BY KEY (device) PARTITIONS 4
ALTER TABLE iot_reading COALESCE PARTITION 2
ALTER TABLE iot_reading REMOVE PARTITIONING
CREATE TABLE iot_reading_archive LIKE iot_reading
RENAME TABLE iot_reading_archive TO iot_old
CREATE TABLE chat_message (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, room INT NOT NULL, sender INT NOT NULL, body TEXT NOT NULL, sent DATETIME DEFAULT CURRENT_TIMESTAMP, KEY room_sent (room, sent)) DEFAULT CHARSET=utf8mb4
ALTER TABLE chat_message ADD edited DATETIME ON UPDATE CURRENT_TIMESTAMP
ALTER TABLE chat_message ADD reply_to BIGINT UNSIGNED NULL, ADD CONSTRAINT reply FOREIGN KEY (reply_to) REFERENCES chat_message (id) ON DELETE SET NULL
ALTER TABLE chat_message ADD FULLTEXT words (body)
ALTER TABLE chat_message DROP INDEX words
ALTER TABLE chat_message ADD reactions JSON
ALTER TABLE chat_message MODIFY body MEDIUMTEXT COLLATE utf8mb4_unicode_ci NOT NULL
ALTER TABLE chat_message DROP FOREIGN KEY reply
ALTER TABLE chat_message DROP KEY reply
ALTER TABLE chat_message ADD deleted BOOL NOT NULL DEFAULT FALSE AFTER body
ALTER TABLE chat_message AUTO_INCREMENT = 100000
CREATE TABLE chat_message_archive LIKE chat_message
RENAME TABLE chat_message_archive TO chat_old
CREATE TABLE film_film (film_id SMALLINT UNSIGNED NOT NULL AUTO_INCREMENT, title VARCHAR(128) NOT NULL, release_year YEAR DEFAULT NULL, length SMALLINT UNSIGNED DEFAULT NULL, rating ENUM('G','PG','R') DEFAULT 'G', features SET('Trailers','Scenes') DEFAULT NULL, PRIMARY KEY (film_id), KEY idx_title (title))
ALTER TABLE film_film ADD rental_rate DECIMAL(4,2) NOT NULL DEFAULT '4.99'
ALTER TABLE film_film ADD replacement_cost DECIMAL(5,2) DEFAULT 19.99 AFTER rental_rate
ALTER TABLE film_film MODIFY rating ENUM('G','PG','PG-13','R','NC-17') DEFAULT 'G'
ALTER TABLE film_film MODIFY features SET('Trailers','Commentaries','Scenes','Behind the Scenes')
ALTER TABLE film_film CHANGE length minutes SMALLINT UNSIGNED
ALTER TABLE film_film ADD last_update TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP
ALTER TABLE film_film RENAME INDEX idx_title TO by_title
ALTER TABLE film_film ADD INDEX year_title (release_year, title(20))
ALTER TABLE film_film ALTER COLUMN rental_rate DROP DEFAULT
ALTER TABLE film_film DROP COLUMN replacement_cost, ADD budget BIGINT
CREATE TABLE film_film_archive LIKE film_film
RENAME TABLE film_film_archive TO film_old
CREATE TABLE saas_tenant (uuid BINARY(16) NOT NULL, name VARCHAR(100), plan VARCHAR(20) NOT NULL DEFAULT 'free', seats INT DEFAULT 1, PRIMARY KEY (uuid)) ENGINE=InnoDB ROW_FORMAT=DYNAMIC
ALTER TABLE saas_tenant ADD UNIQUE INDEX by_name (name)
ALTER TABLE saas_tenant ADD trial_ends DATE DEFAULT '2030-01-01'
ALTER TABLE saas_tenant ADD limits JSON NULL
ALTER TABLE saas_tenant MODIFY seats INT UNSIGNED NOT NULL DEFAULT 1
ALTER TABLE saas_tenant ADD uuid_text CHAR(32) GENERATED ALWAYS AS (HEX(uuid)) VIRTUAL
ALTER TABLE saas_tenant ADD KEY plan_seats (plan, seats), ADD KEY seats_plan (seats, plan)
ALTER TABLE saas_tenant DROP KEY seats_plan
ALTER TABLE saas_tenant CHANGE plan plan VARCHAR(40) CHARACTER SET latin1 NOT NULL DEFAULT 'free'
ALTER TABLE saas_tenant CONVERT TO CHARACTER SET latin1
ALTER TABLE saas_tenant CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci
CREATE TABLE saas_tenant_archive LIKE saas_tenant
RENAME TABLE saas_tenant_archive TO saas_old
CREATE TABLE bank_account (iban CHAR(34) NOT NULL PRIMARY KEY, owner VARCHAR(70), balance DECIMAL(18,2) NOT NULL DEFAULT 0.00, opened DATE)
ALTER TABLE bank_account ADD currency CHAR(3) NOT NULL DEFAULT 'EUR', ADD CONSTRAINT positive CHECK (balance >= -1000)
ALTER TABLE bank_account DROP CONSTRAINT positive
ALTER TABLE bank_account MODIFY balance DECIMAL(20,4) NOT NULL DEFAULT 0
ALTER TABLE bank_account ADD COLUMN (bic CHAR(11), blocked TINYINT(1) DEFAULT 0, closed DATE)
ALTER TABLE bank_account ADD INDEX (owner), ADD INDEX (opened), ADD UNIQUE (owner, iban)
ALTER TABLE bank_account DROP INDEX owner_2
ALTER TABLE bank_account DROP INDEX opened, DROP COLUMN opened
ALTER TABLE bank_account ALTER blocked SET DEFAULT 1
ALTER TABLE bank_account MODIFY COLUMN owner VARCHAR(140) AFTER balance
ALTER TABLE bank_account RENAME COLUMN blocked TO is_blocked
CREATE TABLE bank_account_archive LIKE bank_account
RENAME TABLE bank_account_archive TO bank_old
CREATE TABLE fleet_vehicle (id INT UNSIGNED NOT NULL, plate VARCHAR(12), bought DATE, km MEDIUMINT UNSIGNED, PRIMARY KEY (id), UNIQUE KEY plate (plate))
ALTER TABLE fleet_vehicle MODIFY km INT UNSIGNED NOT NULL DEFAULT 0
ALTER TABLE fleet_vehicle ADD driver INT
ALTER TABLE fleet_vehicle ADD fuel ENUM('diesel','petrol','electric') NOT NULL
ALTER TABLE fleet_vehicle ADD service TIME DEFAULT '08:00:00', ADD length_m DECIMAL(4,2)
ALTER TABLE fleet_vehicle DROP INDEX plate
ALTER TABLE fleet_vehicle ADD UNIQUE KEY plate_country (plate)
ALTER TABLE fleet_vehicle MODIFY id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT
ALTER TABLE fleet_vehicle ADD KEY driver_km (driver, km DESC)
ALTER TABLE fleet_vehicle ORDER BY plate
ALTER TABLE fleet_vehicle CHANGE bought bought_on DATETIME NULL DEFAULT NULL
CREATE TABLE fleet_vehicle_archive LIKE fleet_vehicle
RENAME TABLE fleet_vehicle_archive TO fleet_old
CREATE TABLE hotel_room (id INT PRIMARY KEY, floor TINYINT, beds TINYINT DEFAULT 2, rate DECIMAL(7,2))
ALTER TABLE hotel_room ADD view_of ENUM('sea','street') DEFAULT 'street', ADD KEY (floor, beds)
ALTER TABLE hotel_room MODIFY rate DECIMAL(9,2) NOT NULL, ALTER beds SET DEFAULT 1
CREATE TABLE hotel_booking (id INT AUTO_INCREMENT PRIMARY KEY, room INT NOT NULL, arrives DATE NOT NULL, leaves DATE NOT NULL, CONSTRAINT room_of FOREIGN KEY (room) REFERENCES hotel_room (id), CONSTRAINT stay CHECK (leaves > arrives))
ALTER TABLE hotel_booking ADD nights INT AS (DATEDIFF(leaves, arrives)) STORED, ADD guest VARCHAR(80) AFTER room
ALTER TABLE hotel_booking DROP FOREIGN KEY room_of, ADD CONSTRAINT room_new FOREIGN KEY (room) REFERENCES hotel_room (id) ON DELETE CASCADE
CREATE TABLE hotel_booking_copy AS SELECT * FROM hotel_booking
DROP TABLE hotel_booking_copy
CREATE TABLE library_book (isbn CHAR(13) PRIMARY KEY, title VARCHAR(300), authors TEXT, year YEAR)
CREATE FULLTEXT INDEX by_title ON library_book (title, authors)
ALTER TABLE library_book DROP INDEX by_title, ADD pages SMALLINT UNSIGNED AFTER title, RENAME COLUMN year TO printed
CREATE TABLE library_loan (isbn CHAR(13) NOT NULL, reader INT NOT NULL, due DATE NOT NULL, PRIMARY KEY (isbn, reader), INDEX (due), FOREIGN KEY (isbn) REFERENCES library_book (isbn) ON UPDATE CASCADE)
ALTER TABLE library_loan ADD returned DATETIME NULL, ADD fine DECIMAL(6,2) UNSIGNED DEFAULT 0.00
RENAME TABLE library_loan TO library_lending
TRUNCATE TABLE library_lending
CREATE TABLE weather (station CHAR(5), day DATE, min_c DECIMAL(3,1), max_c DECIMAL(3,1), PRIMARY KEY (day, station)) PARTITION BY RANGE COLUMNS (day) (PARTITION old VALUES LESS THAN ('2020-01-01'), PARTITION new VALUES LESS THAN (MAXVALUE))
ALTER TABLE weather REORGANIZE PARTITION new INTO (PARTITION y2020 VALUES LESS THAN ('2021-01-01'), PARTITION new VALUES LESS THAN (MAXVALUE))
ALTER TABLE weather DROP PARTITION old
ALTER TABLE weather ADD rain_mm DECIMAL(5,1), ADD INDEX wettest (rain_mm DESC, day)
ALTER TABLE weather DROP INDEX wettest, MODIFY min_c DECIMAL(4,1), MODIFY max_c DECIMAL(4,1)
CREATE TABLE vote (poll INT, voter INT, choice TINYINT, at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, UNIQUE KEY once (poll, voter))
ALTER TABLE vote ADD PRIMARY KEY (poll, voter), DROP KEY once
ALTER TABLE vote ADD COLUMN weight FLOAT NOT NULL DEFAULT 1, ADD COLUMN comment VARCHAR(140)
ALTER TABLE vote DROP COLUMN comment, DROP PRIMARY KEY, ADD UNIQUE KEY once (poll, voter)
