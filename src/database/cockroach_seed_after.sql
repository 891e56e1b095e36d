ALTER TABLE public.plans ADD CONSTRAINT plans_flagship_fkey FOREIGN KEY (flagship) REFERENCES public.accounts (id) ON DELETE SET NULL;
CREATE UNIQUE INDEX accounts_email ON public.accounts (email);
CREATE INDEX "accounts by opening" ON public.accounts (opened DESC, plan) WHERE status <> 'closed';
CREATE INDEX accounts_profile ON public.accounts USING gin (profile);
CREATE INDEX documents_tag ON public.documents (tag);
CREATE VIEW public.active_accounts AS
    SELECT a.id, a.email, p.code AS plan FROM public.accounts a JOIN public.plans p ON p.code = a.plan WHERE a.status IN ('new', 'active');
GRANT USAGE ON SCHEMA "Odd Schema" TO %ROLE%;
GRANT SELECT ON public.accounts TO %ROLE%;
GRANT SELECT, INSERT, UPDATE ON public.documents TO %ROLE%;
GRANT SELECT ON "Odd Schema"."Order Items" TO %ROLE%;
