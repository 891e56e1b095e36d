-- Queued checks of deferred foreign keys would forbid what follows.
SET CONSTRAINTS ALL IMMEDIATE;

CREATE UNIQUE INDEX accounts_email ON public.accounts (email);
CREATE INDEX "accounts by lower name" ON public.accounts (lower(name) text_pattern_ops) WHERE status <> 'closed';
CREATE INDEX accounts_profile ON public.accounts USING gin (profile jsonb_path_ops);
CREATE STATISTICS public.accounts_plan_status (dependencies) ON plan, status FROM public.accounts;
ALTER TABLE public.accounts ALTER COLUMN name SET STATISTICS 500;

CREATE TRIGGER note_change AFTER INSERT OR UPDATE OF name ON public.accounts
    FOR EACH ROW WHEN (NEW.id > 0) EXECUTE FUNCTION public.note_change();
UPDATE public.accounts SET name = name || '!' WHERE id <= 5;

CREATE VIEW public.active_accounts WITH (security_barrier) AS
    SELECT a.id, a.email, p.code AS plan, count(e.*) AS events
    FROM public.accounts a JOIN public.plans p ON p.code = a.plan LEFT JOIN public.events e ON e.account = a.id
    WHERE a.status IN ('new', 'active') GROUP BY a.id, a.email, p.code;
CREATE MATERIALIZED VIEW public.events_by_kind AS
    SELECT kind, count(*) AS n, max(at) AS latest FROM public.events GROUP BY kind;
CREATE UNIQUE INDEX events_by_kind_kind ON public.events_by_kind (kind);

ALTER TABLE public.audit ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_changes ON public.audit FOR SELECT TO %ROLE% USING (account % 2 = 0);

GRANT USAGE ON SCHEMA public TO %ROLE%;
GRANT SELECT ON public.accounts, public.plans, public.events, public.active_accounts, public.audit TO %ROLE%;
GRANT INSERT, UPDATE ON public.documents TO %ROLE% WITH GRANT OPTION;
GRANT UPDATE (note), SELECT (id, note) ON public.empty TO %ROLE%;
GRANT USAGE, SELECT ON SEQUENCE public.documents_id_seq TO %ROLE%;
REVOKE EXECUTE ON FUNCTION public.total(numeric[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.total(numeric[]) TO %ROLE%;
REVOKE USAGE ON TYPE public.mood FROM PUBLIC;
GRANT USAGE ON TYPE public.mood TO %ROLE%;
ALTER TABLE public.no_key OWNER TO %ROLE%;
ALTER LARGE OBJECT 7000002 OWNER TO %ROLE%;
GRANT SELECT ON LARGE OBJECT 7000001 TO %ROLE%;
COMMENT ON LARGE OBJECT 7000001 IS 'three hundred thousand random bytes';
