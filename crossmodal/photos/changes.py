"""What an indexing run did, and how far one is."""

from dataclasses import dataclass, field

from crossmodal.files import listed, shown


@dataclass
class Changes:
    """What a run did, in photos; and what it could not do."""

    new: int = 0
    changed: int = 0
    moved: int = 0
    copies: int = 0
    forgotten: int = 0
    unchanged: int = 0
    skipped: dict[str, str] = field(default_factory=dict)  # newly skipped files, with the reason
    read: int = 0  # photos in which text was looked for
    cut_short: list[str] = field(default_factory=list)  # new photos that lack their last bytes
    unreadable: list[str] = field(default_factory=list)  # folders that could not be listed
    missing: dict[str, int] = field(default_factory=dict)  # folders without a file, and their photos, which are kept
    system: dict[str, int] = field(default_factory=dict)  # patterns of SYSTEM, and how often each left something out
    mended: bool = False  # whether what is written in photos was damaged in the index
    seconds: float = 0.0

    def remarks(self, options: bool = True) -> list[str]:
        """Return a sentence each on what was mended, folders that are missing, photos that are cut short, and files of the system.

        With `options` they say which options of the command line change that.
        """
        said = []
        if self.mended:
            said.append("What is written in the photos was damaged in the index, and has been entered again.")
        if self.missing:
            folders = listed(shown(folder) or "the whole folder" for folder in self.missing)
            said.append(
                f"{sum(self.missing.values()):,} photos are missing along with everything in {folders}; they are kept, since "
                "a disk may be away." + (" --forget-missing forgets them." if options else "")
            )
        if self.cut_short:
            said.append(
                f"Photos that lack their last bytes, used as far as they go: {listed(map(shown, self.cut_short))}."
            )
        if self.system:
            advice = "; --include NAME indexes them" if options else ""
            said.append(f"Skipped system files: {listed(self.system)}{advice}.")
        return said


@dataclass(frozen=True)
class Step:
    """How far a run is."""

    photos: int
    photos_in_all: int
    bytes: int
    bytes_in_all: int
    seconds: float
    doing: str = "Indexing"

    @property
    def photos_per_second(self) -> float:
        """The mean speed so far."""
        return self.photos / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float:
        """How long the rest takes at the mean speed."""
        return (self.photos_in_all - self.photos) / self.photos_per_second if self.photos else float("inf")
