//! A scenario that is right until a test changes it.

use std::path::PathBuf;

use redrill::check::Checked;
use redrill::plan::AsWritten;
use redrill::problem::Problems;
use redrill::scenario::Scenario;

pub const PAGE: &str = "\
# Save

1. `kubectl -n shop exec -it db-0 -- save`

# Bring back

1. `kubectl -n shop exec -it db-0 -- load BACKUP_NAME`
2. Set it:
   ```
   kind: Secret
   data:
     password: new
   ```
";

pub const SCENARIO: &str = "\
name: shop
runbook: page.md
system:
  manifests: [system]
  namespace: shop
images:
  shop:1: { folder: image, program: rewritten }
databases:
  shop:
    kind: postgres
    host: db.shop
    port: 5432
    database: shop
    user: { secret: shop/db, key: user }
    password: { secret: shop/db, key: password }
seed: { databases: [shop], size: small }
ledger: { database: shop }
loss: { claims: [shop/data] }
drills:
  all:
    backup: [{ procedure: Save }]
    restore: [{ procedure: Bring back }]
bindings:
  - step: { procedure: Bring back, item: 2 }
    run: kubectl -n shop patch secret db --type merge --patch-file {fragment}
    human: { time: 1m, source: measured with a colleague }
    slots:
      - { place: new, after: 'password: ', from: { generated: password } }
slots:
  - { place: BACKUP_NAME, from: latest }
objectives:
  rto: { promise: 30m, representative: [kube] }
accept:
  - { verdict: CORRECTED, reason: the page is being corrected, owner: ops, until: 2026-12-31 }
";

pub const SYSTEM: &str = "\
apiVersion: v1
kind: Secret
metadata: { name: db, namespace: shop }
stringData: { user: shop, password: x }
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: data, namespace: shop }
spec: {}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: db, namespace: shop }
spec:
  template:
    spec:
      containers:
      - name: db
        image: shop:1
        env:
        - name: PASSWORD
          valueFrom: { secretKeyRef: { name: db, key: password } }
      volumes:
      - name: data
        persistentVolumeClaim: { claimName: data }
---
apiVersion: v1
kind: Namespace
metadata: { name: shop }
";

/// A folder of scenarios with one, `shop`, that is right until a test changes it.
pub struct Shop(pub tempfile::TempDir);

impl Shop {
    pub fn new() -> Self {
        let shop = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(shop.folder().join("system")).unwrap();
        std::fs::create_dir_all(shop.folder().join("image")).unwrap();
        shop.write("scenario.yaml", SCENARIO);
        shop.write("page.md", PAGE);
        shop.write("system/all.yaml", SYSTEM);
        shop.write("image/Dockerfile", "FROM debian\n");
        shop
    }

    pub fn folder(&self) -> PathBuf {
        self.0.path().join("shop")
    }

    pub fn write(&self, file: &str, text: &str) {
        std::fs::write(self.folder().join(file), text).unwrap();
    }

    /// With `old` in the file replaced by `new`; `old` has to be there once.
    pub fn with(self, file: &str, old: &str, new: &str) -> Self {
        let text = std::fs::read_to_string(self.folder().join(file)).unwrap();
        assert_eq!(text.matches(old).count(), 1, "{old:?} in {file}");
        self.write(file, &text.replace(old, new));
        self
    }

    pub fn read(&self) -> Result<Scenario, Problems> {
        Scenario::read(&self.folder().join("scenario.yaml"), jiff::civil::date(2026, 11, 20))
    }

    pub fn check(&self) -> Result<Checked, Problems> {
        self.read().and_then(|scenario| Checked::of(&scenario, AsWritten::No))
    }

    /// The problems, one per line, with the folder taken out.
    pub fn problems(&self) -> Vec<String> {
        let problems = self.check().expect_err("it is wrong on purpose");
        let folder = format!("{}/", self.folder().display());
        problems.iter().map(|problem| problem.to_string().replace(&folder, "")).collect()
    }
}
