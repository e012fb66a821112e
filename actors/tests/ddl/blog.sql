# Blogs, forums, wikis: text, character sets, quoting.
CREATE DATABASE IF NOT EXISTS `app-blog` CHARACTER SET latin1 COLLATE latin1_swedish_ci
USE `app-blog`
CREATE TABLE wp_posts (ID bigint(20) unsigned NOT NULL auto_increment, post_author bigint(20) unsigned NOT NULL default '0', post_date datetime NOT NULL default '1970-01-01 00:00:01', post_content longtext NOT NULL, post_status varchar(20) NOT NULL default 'publish', post_name varchar(200) NOT NULL default '', PRIMARY KEY (ID), KEY post_name (post_name(191)), KEY status_date (post_status,post_date,ID)) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci
CREATE TABLE wp_postmeta (meta_id bigint(20) unsigned NOT NULL auto_increment, post_id bigint(20) unsigned NOT NULL default '0', meta_key varchar(255) default NULL, meta_value longtext, PRIMARY KEY (meta_id), KEY post_id (post_id), KEY meta_key (meta_key(191)))
CREATE TABLE `comment` (`id` int NOT NULL, `key` varchar(10), `order` int, `select` int, `group` varchar(5) DEFAULT 'x', PRIMARY KEY (`id`))
CREATE TABLE `we``ird` (`a``b` INT PRIMARY KEY, `c d` INT, `ß` INT, `semi;colon` INT, `dash--dash` INT)
CREATE TABLE `日本` (`名前` VARCHAR(20) PRIMARY KEY, `値` INT COMMENT '値 ''x''')
ALTER TABLE `日本` ADD COLUMN `説明` TEXT CHARACTER SET utf8mb4 COMMENT 'größe; "doppelt"'
ALTER TABLE `we``ird` RENAME COLUMN `c d` TO `c``d`
ALTER TABLE `we``ird` ADD KEY `k``1` (`c``d`)
ALTER TABLE `comment` CHANGE `order` `order by` INT, ADD `from` INT AFTER `key`, ADD INDEX `table` (`from`)
ALTER TABLE `comment` DROP COLUMN `select`
CREATE TABLE forum (id INT PRIMARY KEY, name VARCHAR(100) CHARACTER SET latin1 COLLATE latin1_german2_ci, intro TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, raw VARCHAR(50) BINARY, tiny TINYTEXT, lb LONGBLOB, vb VARBINARY(100))
ALTER TABLE forum DEFAULT CHARACTER SET = utf8mb4 COLLATE = utf8mb4_general_ci
ALTER TABLE forum CONVERT TO CHARACTER SET utf8mb4
ALTER TABLE forum MODIFY name VARCHAR(120) COLLATE utf8mb4_bin, MODIFY tiny TEXT
ALTER TABLE forum CHANGE intro intro VARCHAR(2000) CHARACTER SET utf8mb4
CREATE TABLE thread (id INT NOT NULL, forum_id INT NOT NULL, title VARCHAR(150), pinned BOOL DEFAULT FALSE, closed BOOLEAN NOT NULL DEFAULT 0, views INT UNSIGNED ZEROFILL, PRIMARY KEY (id), KEY (forum_id), FOREIGN KEY (forum_id) REFERENCES forum (id))
CREATE TABLE post (id BIGINT, thread_id INT, body LONGTEXT, ip VARBINARY(16), PRIMARY KEY (id)) CHARSET=utf8mb4
CREATE INDEX by_thread USING BTREE ON post (thread_id)
CREATE INDEX body_start ON post (body(50)) COMMENT 'first 50'
ALTER TABLE post ADD UNIQUE INDEX once (thread_id, id), ADD CONSTRAINT in_thread FOREIGN KEY (thread_id) REFERENCES thread (id) ON DELETE CASCADE ON UPDATE RESTRICT
CREATE FULLTEXT INDEX full_body ON post (body)
DROP INDEX full_body ON post
DROP INDEX body_start ON `app-blog`.post
ALTER TABLE thread DROP closed, ADD last_post DATETIME, ADD posts INT NOT NULL DEFAULT 0
ALTER TABLE thread MODIFY views BIGINT UNSIGNED NOT NULL DEFAULT 0
SET NAMES latin1
CREATE TABLE plain_latin (id INT PRIMARY KEY, v VARCHAR(10) DEFAULT 'x') COMMENT 'ascii only'
SET NAMES utf8mb4
CREATE TABLE accents (id INT PRIMARY KEY, v VARCHAR(10) DEFAULT 'café' COMMENT 'naïve') COMMENT '日本語'
SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')
CREATE TABLE "quoted" ("id" INT PRIMARY KEY, "v w" VARCHAR(10) DEFAULT 'it''s')
ALTER TABLE "quoted" ADD "x" INT DEFAULT 5, ADD KEY "k" ("x")
ALTER TABLE "quoted" RENAME TO "requoted"
CREATE TABLE "copy""1" LIKE "requoted"
DROP TABLE "copy""1"
SET SESSION sql_mode = DEFAULT
SET SESSION sql_mode = CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES')
CREATE TABLE backslash (id INT PRIMARY KEY, p VARCHAR(20) DEFAULT 'c:\') COMMENT 'a\'
SET SESSION sql_mode = DEFAULT
CREATE TABLE escaped_text (id INT PRIMARY KEY, p VARCHAR(20) DEFAULT 'c:\\x', q VARCHAR(10) DEFAULT 'a\'b', r VARCHAR(10) DEFAULT "d\"e") COMMENT 'tab\there'
SET SESSION sql_mode = ''
CREATE TABLE loose (id INT PRIMARY KEY, d DATE NOT NULL DEFAULT '0000-00-00', dt DATETIME DEFAULT '0000-00-00 00:00:00', n INT NOT NULL)
ALTER TABLE loose MODIFY d DATE NOT NULL DEFAULT '2024-00-00'
SET SESSION sql_mode = DEFAULT
/* leading */ CREATE TABLE lead_comment (id INT PRIMARY KEY)
CREATE /* in the middle */ TABLE mid_comment (id INT /* type */ PRIMARY KEY)
/*!40000 CREATE TABLE exec_comment (id INT PRIMARY KEY) */
CREATE TABLE exec_part (id INT PRIMARY KEY /*!40000 COMMENT 'seen' */, v INT) /*!40100 DEFAULT CHARACTER SET utf8mb4 */
CREATE TABLE newer_part (id INT PRIMARY KEY /*!999999 , nope INT */)
ALTER TABLE exec_part /*!40000 ADD w INT */
/*!40101 SET @saved = @@character_set_client */
/*!40000 ALTER TABLE exec_part DISABLE KEYS */
RENAME TABLE exec_part TO `app-blog`.exec_parts
DROP TABLE IF EXISTS `app-blog`.lead_comment, mid_comment
create table lower_case (id int primary key, v varchar(10))
CREATE TABLE user (id INT PRIMARY KEY, name VARCHAR(30), role ENUM('admin','moderator','member','ban''ned') DEFAULT 'member')
ALTER TABLE user ADD avatar BLOB, ADD settings TEXT NOT NULL, ADD karma INT DEFAULT -5, ADD ratio DECIMAL(5,4) DEFAULT .5
ALTER TABLE user ALTER karma SET DEFAULT 10, ALTER ratio DROP DEFAULT
ALTER TABLE user MODIFY role ENUM('member','admin','moderator') NOT NULL
ALTER TABLE user ADD PRIMARY_mail VARCHAR(100), ADD CONSTRAINT UNIQUE KEY one_mail (PRIMARY_mail)
ALTER TABLE user DROP INDEX one_mail, RENAME COLUMN PRIMARY_mail TO mail
ALTER TABLE user DROP PRIMARY KEY
ALTER TABLE user ADD PRIMARY KEY (id, name)
ALTER TABLE user RENAME TO users, ADD extra INT
ALTER DATABASE `app-blog` CHARACTER SET utf8mb4
ALTER DATABASE `app-blog` COLLATE utf8mb4_bin
CREATE TABLE after_alter (id INT PRIMARY KEY, v VARCHAR(10))
ALTER SCHEMA `app-blog` DEFAULT COLLATE = utf8mb4_unicode_ci
CREATE TABLE after_alter2 (id INT PRIMARY KEY, v VARCHAR(10))
CREATE DATABASE app_gone
CREATE TABLE app_gone.t (id INT PRIMARY KEY)
CREATE TABLE app_gone.u LIKE app_gone.t
DROP DATABASE app_gone
CREATE SCHEMA app_gone2
DROP SCHEMA IF EXISTS app_gone2
DROP SCHEMA IF EXISTS app_gone2
CREATE TABLE empty_defaults (id INT PRIMARY KEY, a CHAR(0), b VARCHAR(5) DEFAULT '', c BINARY(3) DEFAULT 'ab', d BIT(8) DEFAULT b'101', e VARBINARY(4) DEFAULT x'00FF')
Alter  Table	lower_case add  w int,	drop v
