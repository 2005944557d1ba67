package event

func moderationEntries() []Entry { return nil }
