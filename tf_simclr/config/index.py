"""What becomes an index of images, and what an index is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tf_simclr.config.option import check_options, listed, option
from tf_simclr.errors import InputError

INDEX_TYPES = ("float32", "float16")
STRATEGIES = ("typical", "diverse", "uncertain", "random")
MAPS = ("auto", "umap", "pca")
ENGINES = ("auto", "exact", "hnsw", "ivfpq")


@dataclass(frozen=True)
class EmbedConfig:
    """Which features are stored, and where."""

    checkpoint: str | None = option(
        None,
        "The network: a run's directory (its newest checkpoint), a checkpoint, an exported SavedModel, or weights of "
        "the authors' or PyTorch's (docs/weights.md).",
        path=True,
    )
    out: str | None = option(
        None,
        "Directory of the index, on a local disk. An existing index is brought up to date: new images are added, "
        "and missing ones are dropped.",
        path=True,
    )
    endpoint: str = option("final_avg_pool", "Which features: final_avg_pool is h; proj_head_output, block_group3, ...")
    index_type: str = option("float32", "Number type of the index: float16 takes half the space.", INDEX_TYPES)
    embed_split: str = option(
        "",
        "Comma-separated splits to embed. Empty: every split of a folder, and --train_split of another data set.",
    )
    shard: str = option(
        "",
        "I/N embeds one of N parts of the images, I from 0 to N-1: for several processes or machines. --merge makes "
        "one index of all parts. Empty: all images.",
    )
    merge: bool = option(False, "Make one index of the parts in --out that were embedded with --shard.")
    parquet: bool = option(
        False, "Write index.parquet beside the index: the rows and, as a column of lists, the features. Needs pyarrow."
    )

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
        if not self.out:
            raise InputError("`out` must name the directory of the index. Received: out=None. Pass --out=DIR")
        if self.merge and self.shard:
            raise InputError(
                f"`shard` makes a part, and --merge one index of all parts. Received: shard={self.shard}, merge=True. "
                "Leave one of them out"
            )
        if not self.checkpoint and not self.merge:
            raise InputError(
                "`checkpoint` must name the network: a run's directory, a checkpoint or an exported SavedModel. "
                "Received: none. Pass --checkpoint=DIR"
            )
        _ = self.division

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits, in order; none for all."""
        return listed("embed_split", self.embed_split, str) if self.embed_split else ()

    @property
    def division(self) -> tuple[int, int]:
        """Which shard, of how many: (0, 1) for all images."""
        if not self.shard:
            return 0, 1
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", self.shard)
        number, shards = (int(found[1]), int(found[2])) if found else (0, 0)
        if not number < shards:
            raise InputError(
                f"`shard` must be I/N with I from 0 to N-1. Received: shard={self.shard}. Pass for example --shard=0/4"
            )
        return number, shards


@dataclass(frozen=True)
class IndexConfig:
    """Which index is read."""

    index: str | None = option(None, "Directory of an index that embed has written.", path=True)

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
        if not self.index:
            raise InputError("`index` must name the directory of an index. Received: index=None. Pass --index=DIR")

    @property
    def directory(self) -> str:
        """The directory, once there is one."""
        assert self.index is not None
        return self.index


@dataclass(frozen=True)
class ResultConfig:
    """Where results are written."""

    csv: str | None = option(
        None, "CSV file for the results, one row each. Omitted: INDEX/TASK.csv; search only prints them.", path=True
    )
    page: str | None = option(None, "HTML file for the results with thumbnails; it opens offline.", path=True)

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)


@dataclass(frozen=True)
class SearchConfig:
    """What is searched for."""

    query: str | None = option(
        None,
        "An image file, a folder of image files, the path of an image in the index, or the number of its row.",
    )
    k: int = option(9, "Number of most similar images to find for each query.", at_least=1, at_most=10_000)
    engine: str = option(
        "auto",
        "exact compares with every image, which takes 0.03 s for a million. ivfpq and hnsw find nearly all of the "
        "nearest by a structure that is built once and kept in the index. They need the package faiss-cpu, or usearch "
        "for hnsw. auto: exact up to a million images, and above one of the two that is installed and finds 95% of the "
        "ten nearest.",
        ENGINES,
    )
    checkpoint: str | None = option(
        None,
        "Where the network of the index lies now, for queries that are files. Omitted: where it lay when the index was "
        "made.",
        path=True,
    )

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
        if not self.query:
            raise InputError(
                "`query` must name an image. Received: query=None. Pass --query=FILE, a folder, or the path or number "
                "of a row of the index"
            )


@dataclass(frozen=True)
class DuplicatesConfig:
    """Which images count as copies of each other."""

    threshold: float | None = option(
        None,
        "Cosine similarity from which two images count as copies. Omitted: four standard deviations above what "
        "most images have to their nearest neighbour, by the logarithm of 1 - similarity.",
        above=-1,
        at_most=1,
    )

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)


@dataclass(frozen=True)
class NeighboursConfig:
    """How many neighbours count."""

    neighbours: int = option(
        10, "Number of nearest images that each image is compared with.", at_least=1, at_most=10_000
    )

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)


@dataclass(frozen=True)
class ClusterConfig:
    """Into how many groups images are divided."""

    clusters: int | None = option(
        None,
        "Number of clusters. Omitted: the number from 2 to 50 with the largest silhouette coefficient.",
        at_least=2,
        at_most=100_000,
    )
    seed: int = option(0, "Seed of the first centres.", at_least=0, at_most=2**31 - 1)

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)


@dataclass(frozen=True)
class SelectConfig:
    """Which images are chosen to be labelled."""

    n: int = option(100, "Number of images to choose.", at_least=1, at_most=10**7)
    strategy: str = option(
        "typical",
        "typical: the densest image of each cluster (TypiClust), for few labels. diverse: each image as far as "
        "possible from those before it (k-centre greedy). uncertain: where a classifier of the images that have labels "
        "hesitates (margin sampling), for more labels. random: to compare with.",
        STRATEGIES,
    )
    seed: int = option(0, "Seed of the choice.", at_least=0, at_most=2**31 - 1)

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)


@dataclass(frozen=True)
class ProjectorConfig:
    """What TensorBoard's projector shows."""

    out: str | None = option(None, "Directory for the files, on a local disk.", path=True)
    n: int = option(
        10_000, "Maximum number of images to write: a random choice if the index has more.", at_least=1, at_most=100_000
    )
    seed: int = option(0, "Seed of the choice.", at_least=0, at_most=2**31 - 1)

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
        _ = self.directory

    @property
    def directory(self) -> str:
        """The directory."""
        if not self.out:
            raise InputError("`out` must name a directory for the files. Received: out=None. Pass --out=DIR")
        return self.out


@dataclass(frozen=True)
class BrowseConfig:
    """Where the images of an index are shown, and how."""

    host: str = option("127.0.0.1", "Address at which the page is served. 127.0.0.1: for this machine alone.")
    port: int = option(8350, "Port of the page. 0: any free one.", at_least=0, at_most=65_535)
    map: str = option(
        "auto",
        "How images are laid out in two dimensions. umap keeps neighbours together and takes minutes for 100,000 "
        "images, once. pca takes seconds. auto: umap if the package umap-learn is installed.",
        MAPS,
    )
    checkpoint: str | None = option(
        None,
        "Where the network of the index lies now, for images that are dropped on the page. Omitted: where it lay when "
        "the index was made.",
        path=True,
    )

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
        if not self.host:
            raise InputError("`host` must be an address or a name. Received: host=''. Pass --host=127.0.0.1")
