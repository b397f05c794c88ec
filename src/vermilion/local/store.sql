-- The records of one collection. This file is the truth; every index is a cache fed from its log.

-- One row: where the collection stands.
create table head (
    id        integer primary key check (id = 1),
    format    integer not null,            -- layout of this file
    seq       integer not null default 0,  -- last entry of the log
    floor     integer not null default 0,  -- entries up to here are gone: who saw less starts over
    rows      integer not null default 0,  -- how many records there are
    next_key  integer not null default 1,  -- keys are never used twice
    folded    integer not null default 1,  -- ids of keys from here on are in recent_ids
    dimension integer,                     -- of every vector; null until the first one
    dropped   integer not null default 0,  -- the collection was deleted
    sealed    integer not null default 0,  -- the segments hold what the log says up to here
    tail      integer not null default 0,  -- about how many rows have changed since
    generation integer not null default 0  -- counts the lists of segments there have been
);
insert into head (id, format) values (1, 1);

-- A record; ascending key is the order of insertion.
create table records (
    key      integer primary key,
    id       text    not null,
    document text,
    uri      text,
    metadata text,                          -- JSON object, or null
    crc      integer not null               -- of the four columns above
);

-- Its vector: little-endian float32; empty while the record has none. The first such record makes
-- head.format 2 and an index: create index bare on vectors (key) where length(vector) = 0.
create table vectors (
    key    integer primary key,
    vector blob    not null,
    crc    integer not null
);

-- From the hash of an id to its key. New ids go to the small table, which is folded into the large
-- one in order now and then: random inserts into one large tree would halve the rate of ingest.
create table ids        (hash integer not null, key integer not null, primary key (hash, key)) without rowid;
create table recent_ids (hash integer not null, key integer not null, primary key (hash, key)) without rowid;

-- What changed: a row for each run of keys. what: 1 vector, 2 other cells, 4 deleted.
create table log (
    seq  integer primary key,
    lo   integer not null,
    hi   integer not null,
    what integer not null
);

-- Which index files are current. A segment covers some records as they were at head.sealed.
create table segments (
    name text primary key,
    rows integer not null,
    dead blob not null      -- a bit for each of its rows: changed or deleted by head.sealed
) without rowid;

-- For people with an SQL shell.
create view readable as
    select r.key, r.id, r.document, r.uri, r.metadata, length(v.vector) / 4 as dimension
    from records r left join vectors v using (key)
    order by r.key;
