CREATE SCHEMA "Odd Schema";
CREATE TYPE public.mood AS ENUM ('sad', 'ok', 'very happy');
CREATE TABLE public.plans (
    code text PRIMARY KEY,
    flagship bigint
);
CREATE TABLE public.accounts (
    id bigint PRIMARY KEY,
    email text NOT NULL,
    name text NOT NULL,
    plan text NOT NULL REFERENCES public.plans (code),
    status varchar(20) NOT NULL CONSTRAINT known_status CHECK (status IN ('new', 'active', 'closed')),
    balance numeric(20, 4) NOT NULL DEFAULT 0 CONSTRAINT "never negative" CHECK (balance >= 0),
    score double precision,
    opened timestamptz NOT NULL,
    tags text[],
    profile jsonb NOT NULL DEFAULT '{}',
    friend bigint REFERENCES public.accounts (id),
    name_length bigint GENERATED ALWAYS AS (length(name)) STORED
);
CREATE TABLE "Odd Schema"."Order Items" (
    "Id" bigint PRIMARY KEY,
    "Account" bigint NOT NULL REFERENCES public.accounts (id) ON DELETE CASCADE,
    "what?" text NOT NULL,
    amount integer NOT NULL,
    parent bigint REFERENCES "Odd Schema"."Order Items" ("Id")
);
CREATE TABLE public.shapes (
    id uuid PRIMARY KEY,
    bytes bytea,
    "number" numeric,
    real_number real,
    double_number double precision,
    yes boolean,
    small smallint,
    moment timestamptz,
    plain_moment timestamp,
    day date,
    at_time time,
    span interval,
    bits varbit(16),
    address inet,
    mood public.mood,
    ids uuid[],
    numbers bigint[],
    document jsonb,
    words text
);
CREATE TABLE public.no_key (word text, n bigint);
CREATE TABLE public.empty (id bigint PRIMARY KEY, note text);
CREATE TABLE public.two_keys (b bigint, a text, value text, PRIMARY KEY (b, a));
CREATE TABLE public.documents (
    id bigint PRIMARY KEY,
    tag uuid NOT NULL,
    title text NOT NULL,
    body bytea NOT NULL
);
CREATE SEQUENCE public.invoice_numbers START 1000 INCREMENT 7 MAXVALUE 99999;
CREATE SEQUENCE public.never_used START 5;
CREATE TABLE public.invoices (id bigint PRIMARY KEY DEFAULT nextval('public.invoice_numbers'), what text);
