//! The tables a run begins with: every kind of key, every type of column.

use rand::Rng;
use rand::rngs::StdRng;

use super::{Flavor, types};

/// Tables that are always there; their names stay, what is behind them changes.
pub const TABLE_COUNT: usize = 20;
/// The most tables that come and go beside them.
pub const EXTRA_COUNT: usize = 8;

const SPATIAL: [&str; 4] = ["GEOMETRY", "POINT", "LINESTRING", "POLYGON"];

/// The name of a table that is always there.
pub fn name(number: usize) -> String {
    format!("t{number:02}")
}

/// The name of a table that comes and goes.
pub fn extra_name(number: usize) -> String {
    format!("x{number}")
}

/// Whether a table comes and goes.
pub fn is_extra(name: &str) -> bool {
    name.starts_with('x')
}

/// `CREATE TABLE` of the table that has this number in the beginning.
pub fn create(rng: &mut StdRng, flavor: Flavor, name: &str, number: usize) -> String {
    let mut columns = Vec::new();
    let mut keys = Vec::new();
    let mut options = String::new();
    match number % TABLE_COUNT {
        0 | 1 => {
            columns.push("id BIGINT NOT NULL AUTO_INCREMENT".to_owned());
            keys.push("PRIMARY KEY (id)".to_owned());
        }
        2 => {
            columns.push(format!("id {} NOT NULL", types::integer(rng)));
            columns.push("code VARCHAR(20) CHARACTER SET latin1 NOT NULL".to_owned());
            keys.push("PRIMARY KEY (id, code)".to_owned());
        }
        3 => {
            columns.push(
                "code VARCHAR(30) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL".to_owned(),
            );
            keys.push("PRIMARY KEY (code)".to_owned());
        }
        4 | 5 => columns.push("a INT NULL".to_owned()),
        6 => {
            columns.push("a INT NULL".to_owned());
            columns.push("b VARCHAR(20) COLLATE utf8mb4_unicode_ci NULL".to_owned());
            keys.push("UNIQUE KEY a_b (a, b)".to_owned());
        }
        7 => {
            columns.push("a INT NOT NULL".to_owned());
            columns.push("b DATE NOT NULL".to_owned());
            keys.push("UNIQUE KEY a_b (a, b)".to_owned());
            keys.push("UNIQUE KEY by_b (b, a)".to_owned());
        }
        8 => {
            columns.push("id INT NOT NULL".to_owned());
            columns.push("a INT NULL".to_owned());
            columns.push("g BIGINT GENERATED ALWAYS AS (a * 2) STORED".to_owned());
            columns.push("v BIGINT GENERATED ALWAYS AS (a + id) VIRTUAL".to_owned());
            keys.push("PRIMARY KEY (id)".to_owned());
            keys.push("UNIQUE KEY by_g (g)".to_owned());
            keys.push("KEY by_v (v)".to_owned());
        }
        9 => {
            columns.push("id INT NOT NULL".to_owned());
            columns.push("txt TEXT NULL".to_owned());
            keys.push("PRIMARY KEY (id)".to_owned());
            keys.push("UNIQUE KEY by_txt (txt(3))".to_owned());
        }
        10 => {
            columns.push("id INT NOT NULL".to_owned());
            keys.push("PRIMARY KEY (id)".to_owned());
        }
        11 => {
            columns.push("id INT NOT NULL".to_owned());
            columns.push("parent INT NULL".to_owned());
            keys.push("PRIMARY KEY (id)".to_owned());
            // A key made by the server for a foreign key goes away with the next key on the column; a copy of the table
            // does not know that it was one of those. So keys of foreign keys are spelled out.
            keys.push("KEY of_parent (parent)".to_owned());
            keys.push("CONSTRAINT fk_a FOREIGN KEY (parent) REFERENCES t10 (id) ON DELETE CASCADE ON UPDATE CASCADE".to_owned());
        }
        12 => {
            columns.push("id INT NOT NULL AUTO_INCREMENT".to_owned());
            columns.push("parent INT NULL".to_owned());
            columns.push("grand INT NULL".to_owned());
            keys.push("PRIMARY KEY (id)".to_owned());
            keys.push("UNIQUE KEY by_parent (parent, grand)".to_owned());
            keys.push("KEY of_grand (grand)".to_owned());
            keys.push("CONSTRAINT fk_b FOREIGN KEY (parent) REFERENCES t11 (id) ON DELETE SET NULL ON UPDATE CASCADE".to_owned());
            keys.push("CONSTRAINT fk_c FOREIGN KEY (grand) REFERENCES t10 (id)".to_owned());
        }
        13 => {
            columns.push("id INT NOT NULL".to_owned());
            columns.push("up INT NULL".to_owned());
            keys.push("PRIMARY KEY (id)".to_owned());
            keys.push("KEY of_up (up)".to_owned());
            keys.push("CONSTRAINT fk_self FOREIGN KEY (up) REFERENCES t13 (id) ON DELETE CASCADE".to_owned());
        }
        14 => {
            columns.push("id INT NOT NULL".to_owned());
            columns.push("y INT NOT NULL".to_owned());
            keys.push("PRIMARY KEY (id, y)".to_owned());
            options = " PARTITION BY RANGE (y) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (30), \
                       PARTITION pmax VALUES LESS THAN MAXVALUE)"
                .to_owned();
        }
        15 => {
            columns.push("id BIGINT UNSIGNED NOT NULL".to_owned());
            keys.push("PRIMARY KEY (id)".to_owned());
            options = " PARTITION BY HASH (id) PARTITIONS 3".to_owned();
        }
        16 => {
            columns.push("k VARBINARY(16) NOT NULL".to_owned());
            columns.push("d DATETIME(6) NOT NULL".to_owned());
            keys.push("PRIMARY KEY (k, d)".to_owned());
        }
        17 => {
            columns.push("k CHAR(8) CHARACTER SET gbk NOT NULL".to_owned());
            columns.push("e ENUM('p','q','r') NOT NULL".to_owned());
            columns.push("n DECIMAL(10,3) NULL".to_owned());
            keys.push("PRIMARY KEY (k, e)".to_owned());
            keys.push("UNIQUE KEY by_n (n)".to_owned());
        }
        18 => {
            columns.push("id INT NOT NULL".to_owned());
            let invisible = match flavor {
                Flavor::Mysql => "hidden INT NOT NULL DEFAULT 5 INVISIBLE",
                Flavor::Mariadb => "hidden INT NOT NULL INVISIBLE DEFAULT 5",
            };
            columns.push(invisible.to_owned());
            keys.push("PRIMARY KEY (id)".to_owned());
            keys.push("KEY by_hidden (hidden)".to_owned());
        }
        _ => {
            columns.push("a BIGINT UNSIGNED NULL".to_owned());
            columns.push("t TIMESTAMP(3) NULL".to_owned());
            keys.push("UNIQUE KEY by_a (a)".to_owned());
        }
    }
    // Together the tables have every type there is.
    let share = types::count(flavor).div_ceil(TABLE_COUNT);
    let mut has_index = false;
    for column in 0..share {
        let mut column_type = types::nth(rng, flavor, number * share + column);
        if !options.is_empty() && SPATIAL.iter().any(|spatial| column_type.starts_with(spatial)) {
            // No partitions with those.
            column_type = "INT NULL".to_owned();
        }
        if !has_index
            && !column_type.starts_with("POINT")
            && column_type.contains("INT")
            && rng.random_range(0..2) == 0
        {
            keys.push(format!("KEY by_c{column} (c{column})"));
            has_index = true;
        }
        columns.push(format!("c{column} {column_type}"));
    }
    columns.extend(keys);
    format!("CREATE TABLE `{name}` ({}) ENGINE=InnoDB{options}", columns.join(", "))
}
