//! The resources that exist, each a document that outlives the process.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::series::SeriesId;

/// Tags of a resource.
pub(crate) type Tags = BTreeMap<String, String>;

/// A resource as it stands in the index.
pub(crate) trait Document: Serialize + DeserializeOwned {
    /// Its kind there.
    const KIND: &'static str;
}

macro_rules! documents {
    ($($(#[$doc:meta])* $name:ident = $kind:literal {
        $($(#[$field_doc:meta])* $field:ident: $type:ty,)*
    })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Serialize, Deserialize)]
            pub(crate) struct $name { $($(#[$field_doc])* pub(crate) $field: $type,)* }

            impl Document for $name {
                const KIND: &'static str = $kind;
            }
        )*
    };
}

documents! {
    /// A log group, without its streams.
    LogGroup = "log_group" {
        created: i64,
        class: String,
        retention: Option<u32>,
        kms: Option<String>,
        tags: Tags,
        #[serde(skip)]
        streams: BTreeMap<String, LogStream>,
    }
    /// A log stream.
    LogStream = "log_stream" {
        created: i64,
        series: SeriesId,
    }
    /// A delivery stream of Firehose.
    DeliveryStream = "delivery_stream" {
        created: i64,
        series: SeriesId,
        kind: String,
        /// The destination as it was given, under its member's name.
        destination: Option<(String, Value)>,
        tags: Tags,
    }
    /// A data stream of Kinesis.
    DataStream = "data_stream" {
        created: i64,
        mode: String,
        shards: Vec<SeriesId>,
        tags: Tags,
    }
    /// A bucket, without what is in it.
    Bucket = "bucket" {
        created: i64,
        region: String,
        #[serde(skip)]
        objects: BTreeMap<String, Object>,
        #[serde(skip)]
        uploads: BTreeMap<String, Upload>,
    }
    /// An object of S3.
    Object = "object" {
        modified: i64,
        /// Without quotes.
        etag: String,
        /// Files that make it, with their bytes.
        files: Vec<(u64, u64)>,
        /// Headers that come back with it, by lower-case name.
        headers: BTreeMap<String, String>,
        /// Checksum's header and value, if one was given.
        checksum: Option<(String, String)>,
        storage_class: String,
    }
    /// A multipart upload, without its parts.
    Upload = "upload" {
        key: String,
        started: i64,
        headers: BTreeMap<String, String>,
        storage_class: String,
        #[serde(skip)]
        parts: BTreeMap<u32, PartOf>,
    }
    /// A part of an upload.
    PartOf = "part" {
        file: u64,
        size: u64,
        etag: String,
        modified: i64,
        checksum: Option<(String, String)>,
    }
    /// A secret with its versions.
    Secret = "secret" {
        /// The six characters behind the name in its ARN.
        suffix: String,
        created: i64,
        changed: i64,
        description: Option<String>,
        kms: Option<String>,
        tags: Vec<(String, String)>,
        /// By id.
        versions: BTreeMap<String, SecretVersion>,
    }
    /// A parameter with its versions.
    Parameter = "parameter" {
        kind: String,
        description: Option<String>,
        key_id: Option<String>,
        pattern: Option<String>,
        data_type: String,
        tier: String,
        tags: Tags,
        /// Oldest first; at most a hundred.
        versions: Vec<ParameterVersion>,
    }
}

/// A version of a secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SecretVersion {
    pub(crate) created: i64,
    pub(crate) stages: Vec<String>,
    pub(crate) text: Option<String>,
    /// Base64.
    pub(crate) binary: Option<String>,
}

/// A version of a parameter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ParameterVersion {
    pub(crate) number: u64,
    pub(crate) value: String,
    pub(crate) modified: i64,
}

/// All resources.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) groups: BTreeMap<String, LogGroup>,
    pub(crate) delivery_streams: BTreeMap<String, DeliveryStream>,
    pub(crate) data_streams: BTreeMap<String, DataStream>,
    pub(crate) buckets: BTreeMap<String, Bucket>,
    pub(crate) secrets: BTreeMap<String, Secret>,
    pub(crate) parameters: BTreeMap<String, Parameter>,
}

impl Catalog {
    /// All kinds, parents before what is in them.
    pub(crate) const KINDS: &'static [&'static str] = &[
        LogGroup::KIND,
        LogStream::KIND,
        DeliveryStream::KIND,
        DataStream::KIND,
        Bucket::KIND,
        Object::KIND,
        Upload::KIND,
        PartOf::KIND,
        Secret::KIND,
        Parameter::KIND,
    ];

    /// Takes a document of the index. What has lost its parent is passed over.
    pub(crate) fn restore(
        &mut self,
        kind: &str,
        parent: &str,
        name: &str,
        body: &str,
    ) -> serde_json::Result<()> {
        let owned = name.to_owned();
        match kind {
            LogGroup::KIND => {
                self.groups.insert(owned, read(body)?);
            }
            LogStream::KIND => {
                if let Some(group) = self.groups.get_mut(parent) {
                    group.streams.insert(owned, read(body)?);
                }
            }
            DeliveryStream::KIND => {
                self.delivery_streams.insert(owned, read(body)?);
            }
            DataStream::KIND => {
                self.data_streams.insert(owned, read(body)?);
            }
            Bucket::KIND => {
                self.buckets.insert(owned, read(body)?);
            }
            Object::KIND => {
                if let Some(bucket) = self.buckets.get_mut(parent) {
                    bucket.objects.insert(owned, read(body)?);
                }
            }
            Upload::KIND => {
                if let Some(bucket) = self.buckets.get_mut(parent) {
                    bucket.uploads.insert(owned, read(body)?);
                }
            }
            PartOf::KIND => {
                let part = read(body)?;
                let uploads = self
                    .buckets
                    .values_mut()
                    .find_map(|bucket| bucket.uploads.get_mut(parent));
                if let (Some(upload), Ok(number)) = (uploads, name.parse()) {
                    upload.parts.insert(number, part);
                }
            }
            Secret::KIND => {
                self.secrets.insert(owned, read(body)?);
            }
            Parameter::KIND => {
                self.parameters.insert(owned, read(body)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Every series that a resource names.
    pub(crate) fn series(&self) -> Vec<SeriesId> {
        let logs = self
            .groups
            .values()
            .flat_map(|group| group.streams.values().map(|stream| stream.series));
        let deliveries = self.delivery_streams.values().map(|stream| stream.series);
        let shards = self
            .data_streams
            .values()
            .flat_map(|stream| stream.shards.iter().copied());
        logs.chain(deliveries).chain(shards).collect()
    }

    /// Every file of objects and parts.
    pub(crate) fn files(&self) -> impl Iterator<Item = u64> {
        self.buckets.values().flat_map(|bucket| {
            let objects = bucket
                .objects
                .values()
                .flat_map(|object| object.files.iter().map(|(file, _)| *file));
            let parts = bucket
                .uploads
                .values()
                .flat_map(|upload| upload.parts.values().map(|part| part.file));
            objects.chain(parts)
        })
    }
}

fn read<D: Document>(body: &str) -> serde_json::Result<D> {
    serde_json::from_str(body)
}
